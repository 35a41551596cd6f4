import pickle,sys,numpy as np,torch
torch.set_num_threads(1)
EVAL=("balkan brass","disco","samba","electro","folk dance","boom bap")
def load(ks): return sum((pickle.load(open(k+'.seen','rb')) for k in ks),[])
def pad(S):
    M=max(len(s['x']) for s in S); k=S[0]['x'].shape[1]
    x=np.zeros((len(S),M,k),np.float32); r=np.zeros((len(S),M),bool); t=np.zeros((len(S),M),bool)
    for i,s in enumerate(S): n=len(s['x']); x[i,:n]=s['x']; r[i,:n]=s['right']; t[i,:n]=1
    return map(torch.from_numpy,(x,r,t))
def fit(S,steps=300,hid=16,wd=3e-4,seed=0):
    torch.manual_seed(seed)
    x,r,t=pad(S); rows=x[t]; mu,sd=rows.mean(0),rows.std(0).clamp(min=.03); x=((x-mu)/sd).clamp(-6,6)
    k=x.shape[-1]
    w=dict(lin=torch.zeros(k),h=torch.randn(k,hid)*.1,hb=torch.zeros(hid),o=torch.zeros(hid),b=torch.zeros(1))
    for v in w.values(): v.requires_grad_(True)
    opt=torch.optim.Adam(list(w.values()),.02); exists=r.any(1)
    n=len(x)
    for s in range(steps):
        for g in opt.param_groups: g['lr']=.02*(1-s/steps)
        idx=torch.randperm(n)[:256]
        keep=(torch.rand(k)>.05).float()
        z=x[idx]*keep
        sc=z@w['lin']+torch.relu(z@w['h']+w['hb'])@w['o']+w['b']
        sc=torch.cat([sc.masked_fill(~t[idx],-1e9),torch.zeros(len(idx),1)],1)
        lo=sc-sc.logsumexp(1,keepdim=True)
        good=torch.cat([(r&t)[idx],~exists[idx][:,None]],1)
        loss=-(lo.masked_fill(~good,-1e9).logsumexp(1)).mean()+wd*sum((v**2).sum() for v in w.values())
        opt.zero_grad(); loss.backward(); opt.step()
    return {k:v.detach().numpy() for k,v in w.items()}|dict(mu=mu.numpy(),sd=sd.numpy())
def score(s,w):
    z=np.clip((s['x']-w['mu'])/w['sd'],-6,6)
    return z@w['lin']+np.maximum(z@w['h']+w['hb'],0)@w['o']+w['b']
def report(S,w,name,old=False):
    R=[];C=[];O=[];K=[]
    for s in S:
        sc=s['old']-5.17 if old else score(s,w)
        i=int(sc.argmax()); alike=np.abs(s['bpm']/s['bpm'][i]-1)<.005
        if 'compus' in s['style']: ok=s['right'][i] or s['oct'][i]
        else: ok=s['right'][i]
        e=np.exp(sc-sc.max()); p=e[alike].sum()/(e.sum()+np.exp(-sc.max()))
        R.append(ok); C.append(p); O.append(s['oct'][i] and not ok); K.append(s['kind'])
    R,C,O,K=map(np.array,(R,C,O,K))
    for k in sorted(set(K)):
        m=K==k; bad=(~R)&(C>=.9)
        has=np.mean([s['right'].any() for s,mm in zip(S,m) if mm])
        print(f"{name:10s} {k:6s} n={m.sum():4d} right {100*R[m].mean():5.1f} oct {100*O[m].mean():5.1f} wrong {100*(~R&~O)[m].mean():5.1f}  has {100*has:.0f} sure-wrong(not oct) {(bad&~O)[m].sum()} sure-oct {(bad&O)[m].sum()} meanconf {C[m].mean():.2f}")
    return R,C
if __name__=='__main__':
    A,B=load(['a']),load(['b'])
    T=load(sys.argv[1:]); ev=[s for s in T if s['style'] in EVAL]; tr=[s for s in T if s['style'] not in EVAL]
    print(len(tr),len(ev))
    for nm,S in (('a',A),('b',B),('engine',ev)): report(S,None,nm+' old',True)
    w=fit(tr)
    for nm,S in (('a',A),('b',B),('engine',ev),('train',tr)): report(S,w,nm)
    pickle.dump(w,open('w.pkl','wb'))
