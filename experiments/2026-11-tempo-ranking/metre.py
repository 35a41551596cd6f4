import numpy as np, pickle, sys, torch
from melformer.audio.onsets import onsets_of
from melformer.audio.repeats import self_similarity
BARS=(3,4,5,7)
OPT=[(m,o) for m in BARS for o in range(m)]
def beat_table(o,bpm,first_s):
    """o: Onsets of the sound; first_s: a beat, s from the sound's start, >=-0.03. (n_beats, k)"""
    L=o.levels; rate=o.rate; n=len(L); b=60/bpm*rate
    n_beats=int((n-1-first_s*rate)/b+0.05)+0
    n_beats=max(1,int(np.floor((n-first_s*rate)/b+0.02)))
    t=first_s*rate+np.arange(n_beats)*b
    lo=np.clip(np.rint(t-0.03*rate).astype(int),0,n-1); hi=np.clip(np.rint(t+0.045*rate).astype(int)+1,1,n)
    reg=np.stack([[o.registers[a:c,r].max() if c>a else 0 for a,c in zip(lo,hi)] for r in range(3)]+[[o.strength[a:c].max() if c>a else 0 for a,c in zip(lo,hi)]],1)
    cum=np.concatenate([np.zeros((1,L.shape[1])),np.cumsum(L,0)])
    a=np.clip(np.rint(t+0.05*b).astype(int),0,n-1); c=np.clip(np.rint(t+0.95*b).astype(int),1,n); c=np.maximum(c,a+1)
    mean=(cum[c]-cum[a])/(c-a)[:,None]
    d=np.abs(np.diff(mean,axis=0,prepend=mean[:1])); 
    change=d.mean(1); bass=d[:,:8].mean(1); mid=d[:,8:16].mean(1)
    loud=mean.mean(1); low=mean[:,:7].mean(1)
    return np.stack([np.sqrt(reg[:,0]),np.sqrt(reg[:,1]),np.sqrt(reg[:,2]),np.sqrt(reg[:,3]),change,bass,mid,loud,low],1), mean
def beat_sim(mean,lag):
    """likeness of beats a lag apart by mean levels and order"""
    if len(mean)<=lag: return 0.0
    x=mean-mean.mean(0); p=(x[lag:]*x[:-lag]).sum(); q=np.sqrt((x[lag:]**2).sum()*(x[:-lag]**2).sum())
    return p/(q+1e-9)
def options(o,bpm,first_s,sim,simrate,whole,at_start):
    T,mean=beat_table(o,bpm,first_s)
    z=(T-T.mean(0))/(T.std(0)+1e-3); n=len(z)
    z[0,4:7]=0
    b=60/bpm*simrate
    def S(k):
        i=k*b
        return float(np.interp(i,np.arange(len(sim)),sim)) if i<len(sim)-0.3*simrate else np.nan
    sims={k:S(k) for k in range(1,17)}
    fill=np.nanmean(list(sims.values())) if not np.all(np.isnan(list(sims.values()))) else 0
    g=lambda k: 0.0 if np.isnan(sims.get(k,np.nan)) else sims[k]-fill
    rows=[]
    for m in BARS:
        others=[sims[k] for k in range(2,9) if k%m and not np.isnan(sims[k])]
        rel=(sims[m]-max(others)) if others and not np.isnan(sims[m]) else 0.0
        per=[z[o_::m].mean(0) if len(z[o_::m]) else np.zeros(z.shape[1]) for o_ in range(m)]
        per=np.array(per)
        for of in range(m):
            x=per[of]; oth=np.delete(per,of,0).mean(0)
            roll=np.roll(per,-of,0)
            mid=roll[m//2]
            nb=roll[[1,m-1]].mean(0)
            row=list(x-oth)+list(x-roll.max(0))+list(mid[:4])+list(nb[:4])+[
                (of==0)*at_start*(whole>0),(of==0)*at_start*(whole==0),(of==0)*1.0,
                float(whole>0 and whole%m==0),float(whole>0 and whole%(2*m)==0),float(whole>0 and whole%(4*m)==0),float(whole>0),
                g(m),g(2*m) if 2*m<=16 else 0.0,rel,beat_sim(mean,m),beat_sim(mean,2*m),np.log(n/m)]
            row+= [float(m==k) for k in BARS]+[float(m==k)*np.log(n/8+.1) for k in BARS]
            row+=[ (m==4)*v for v in list(mid[:4])+list(nb[:4])]+[(m==3)*v for v in list(nb[:4])]
            rows.append(row)
    return np.array(rows,np.float32)
def see(it,bpm=None,first=None):
    o=onsets_of(it['levels'].astype(np.float32),it['rate']); e=it['edges']
    sim=self_similarity(o.levels[::2])
    bpm=bpm or it['bpm']; b=60/bpm
    f=(it['beat_s']-e.start_s)%b
    if b-f<0.03: f-=b
    dur=[q-p for p,q in e.spans]
    whole=0
    for d in dur:
        n=round(d/b)
        if n and abs(d-n*b)<0.012: whole=n;break
    at=abs(f)<0.03
    X=options(o,bpm,f,sim,it['rate']/2,whole,at)
    bar=it['bar']; off=round((it['beat_s']-e.start_s-f)/b)
    if it['metre']=='6/8': right=np.array([m==4 and (q-off)%2==0 for m,q in OPT])
    else: right=np.array([m==bar and (q-off)%m==0 for m,q in OPT])
    return dict(x=X,right=right,kind=it['kind'],style=it['style'],metre=it['metre'],beats=(e.stop_s-e.start_s)/b)
def fit(S,steps=400,hid=12,wd=5e-4,seed=0):
    torch.manual_seed(seed)
    x=torch.tensor(np.stack([s['x'] for s in S])); r=torch.tensor(np.stack([s['right'] for s in S]))
    mu,sd=x.reshape(-1,x.shape[-1]).mean(0),x.reshape(-1,x.shape[-1]).std(0).clamp(min=.05); x=((x-mu)/sd).clamp(-6,6)
    k=x.shape[-1]; w=dict(lin=torch.zeros(k),h=torch.randn(k,hid)*.1,hb=torch.zeros(hid),o=torch.zeros(hid))
    for v in w.values(): v.requires_grad_(True)
    opt=torch.optim.Adam(list(w.values()),.02)
    for s in range(steps):
        for g in opt.param_groups: g['lr']=.02*(1-s/steps)
        i=torch.randperm(len(x))[:256]; z=x[i]*(torch.rand(k)>.05)
        sc=z@w['lin']+torch.relu(z@w['h']+w['hb'])@w['o']
        lo=sc-sc.logsumexp(1,keepdim=True)
        loss=-(lo.masked_fill(~r[i],-1e9).logsumexp(1)).mean()+wd*sum((v**2).sum() for v in w.values())
        opt.zero_grad(); loss.backward(); opt.step()
    return {k:v.detach().numpy() for k,v in w.items()}|dict(mu=mu.numpy(),sd=sd.numpy())
def score(x,w):
    z=np.clip((x-w['mu'])/w['sd'],-6,6); return z@w['lin']+np.maximum(z@w['h']+w['hb'],0)@w['o']
def judge(s,w):
    sc=score(s['x'],w); p=np.exp(sc-sc.max()); p/=p.sum()
    sh=[p[[m==k for m,_ in OPT]].sum() for k in BARS]; m=BARS[int(np.argmax(sh))]
    best=int(np.where([q==m for q,_ in OPT],p,-1).argmax())
    true_m=4 if s['metre']=='6/8' else OPT[int(s['right'].argmax())][0]
    return m==true_m, s['right'][best], max(sh), p[best]
def report(S,w,name):
    J=np.array([judge(s,w) for s in S])
    for kind in ('whole','cut'):
        for mt in sorted({s['metre'] for s in S}):
            m=np.array([s['kind']==kind and s['metre']==mt for s in S])
            if m.sum(): print(f"{name} {kind} {mt} n={m.sum()} metre {100*J[m,0].mean():.0f} downbeat {100*J[m,1].mean():.0f} conf {J[m,2].mean():.2f} {J[m,3].mean():.2f}")
    return J
if __name__=='__main__':
    from fit import EVAL
    S=[]
    for k in sys.argv[1:]:
        its=pickle.load(open(k+'.pkl','rb'))
        for it in its:
            if (it['edges'].stop_s-it['edges'].start_s)*it['bpm']/60>=2.5: S.append(see(it))
    A=[see(it) for it in pickle.load(open('a.pkl','rb'))]
    tr=[s for s in S if s['style'] not in EVAL]; ev=[s for s in S if s['style'] in EVAL]
    w=fit(tr); print(len(tr),len(ev),S[0]['x'].shape)
    report(A,w,'a'); report(ev,w,'eval'); report(tr,w,'train'); pickle.dump(w,open('wm.pkl','wb'))
