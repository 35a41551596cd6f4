import pickle,numpy as np
for k in 'ab':
    S=pickle.load(open(f'/work/run/tempo3/{k}.seen','rb')); R=[];O=[];C=[];K=[]; H=[]
    for s in S:
        sc=s['old']-5.17; i=int(sc.argmax()); alike=np.abs(s['bpm']/s['bpm'][i]-1)<.005
        e=np.exp(sc-sc.max()); p=e[alike].sum()/(e.sum()+np.exp(-sc.max()))
        ok=abs(s['bpm'][i]/s['true']-1)<=.005; oc=min(abs(s['bpm'][i]/s['true']/f-1) for f in (.5,2))<=.005
        if 'compus' in s['style'] and oc: ok=True
        R.append(ok);O.append(oc and not ok);C.append(p);K.append(s['kind']);H.append(s['right'].any())
    R,O,C,K,H=map(np.array,(R,O,C,K,H))
    for kind in sorted(set(K)):
        m=K==kind; W=~R&~O
        print(k,kind,'n',m.sum(),'right',R[m].sum(),'octave',O[m].sum(),'wrong',W[m].sum(),f'{100*R[m].mean():.1f}/{100*O[m].mean():.1f}/{100*W[m].mean():.1f}%','candidate there',round(100*H[m].mean(),1),
          'conf>=.9 on wrong',(W&(C>=.9))[m].sum(),'on octave',(O&(C>=.9))[m].sum())
    bins=np.clip((C*10).astype(int),0,9); ece=sum(abs(R[bins==b].mean()-C[bins==b].mean())*(bins==b).mean() for b in range(10) if (bins==b).any())
    ro=R|O; ece2=sum(abs(ro[bins==b].mean()-C[bins==b].mean())*(bins==b).mean() for b in range(10) if (bins==b).any())
    print(k,'ECE',round(ece,3),'octaves as right',round(ece2,3))
