import numpy as np
from melformer.audio import detect as D
from melformer.audio.onsets import onsets_of, Onsets
from melformer.audio.repeats import self_similarity
from melformer.audio.grid import *
POSS=np.array([n for n in range(1,513) if n<=8 or n%4==0 or n%6==0 or (n<=64 and (n%5==0 or n%7==0))])
def kinds(counts):
    p2=(counts&(counts-1)==0)&(counts>=4)
    return np.stack([counts>0,p2,(counts%4==0)&~p2&(counts>0),(counts%3==0)&(counts%4!=0)&(counts>0),(counts%2==1),(counts%5==0)&(counts>0)&(counts%4!=0),(counts%7==0)&(counts>0)&(counts%4!=0),(counts==1)|(counts==2),counts>64],1).astype(float)
def acorr(x): return D._autocorrelation(x)
class Ctx: pass
def context(it):
    c=Ctx(); c.o=onsets_of(it['levels'].astype(np.float32),it['rate']); c.it=it
    c.sim=self_similarity(c.o.levels[::2]); c.simrate=it['rate']/2
    c.reps=it['reps']; c.spans=it['edges'].spans; c.durs=[b-a for a,b in c.spans]
    return c
def candidates(c):
    free=np.array([D._refine(c.o,b) for b in D._peaks(c.o)])
    B=[free];N=[np.zeros(len(free),int)];W=[np.full(len(free),-1)];R=[np.full(len(free),-1)]
    for i,d in enumerate(c.durs):
        b=bpm_of(POSS,d); ok=(b>=50)&(b<=220)
        B.append(b[ok]);N.append(POSS[ok]);W.append(np.full(ok.sum(),i));R.append(np.full(ok.sum(),-1))
    for i,r in enumerate(c.reps):
        b=bpm_of(POSS,r.period_s); ok=(b>=50)&(b<=220)
        B.append(b[ok]);N.append(POSS[ok]);W.append(np.full(ok.sum(),-1));R.append(np.full(ok.sum(),i))
    return [np.concatenate(x) for x in (B,N,W,R)]
def near_whole(d,bpms,tol_s=0.012):
    n=d/seconds_per_beat(bpms); k=np.rint(n).astype(int)
    miss=np.abs(n-k)*seconds_per_beat(bpms)
    return np.exp(-0.5*(miss/tol_s)**2)*(k>0), k
def features(c,bpms,counts,which,rep):
    o=c.o; ac=acorr(o.strength); al=acorr(o.low); hi=acorr(o.registers[:,1]+o.registers[:,2])
    rate=o.rate; cols=[]
    m=lambda corr,r,lags: D._mean_at(corr,r,bpms,lags)
    for lags in D._LAGS+((3.,),(6.,),(8.,),(1/3,2/3,4/3,5/3),(5.,),(7.,)): cols.append(m(ac,rate,lags))
    for lags in ((1.,),(2.,),(4.,),(.5,1.5)): cols.append(m(al,rate,lags)); 
    for lags in ((1.,),(2.,),(.5,1.5)): cols.append(m(hi,rate,lags))
    for lags in ((.5,),(1.,),(2.,),(3.,),(4.,),(8.,)): cols.append(m(c.sim,c.simrate,lags))
    oc=np.log2(bpms/115); cols+=[oc,oc**2,np.maximum(0,np.log2(bpms/180)),np.maximum(0,np.log2(80/bpms))]
    fl=which>=0; fr=rep>=0
    kl=kinds(counts)
    cols+=list((kl*fl[:,None]).T)
    like=np.array([max(0,r.exactness)*r.likeness for r in c.reps]+[0.0]); lk=np.array([r.likeness for r in c.reps]+[0.0])
    cols+=list((kl*(fr*like[rep])[:,None]).T); cols+=[fr*lk[rep],fr*1.0]
    # fit of every candidate to the best repeats and to the lengths, whatever it came from
    best=np.zeros((len(bpms),3))
    for r in c.reps:
        w,k=near_whole(r.period_s,bpms); a=max(0,r.exactness)*r.likeness
        best[:,0]=np.maximum(best[:,0],w*a); best[:,1]=np.maximum(best[:,1],w*a*(k%4==0)); best[:,2]=np.maximum(best[:,2],w*a*(k%2==0))
    cols+=list(best.T)
    bl=np.zeros((len(bpms),2))
    for d in c.durs:
        w,k=near_whole(d,bpms,0.008); bl[:,0]=np.maximum(bl[:,0],w); bl[:,1]=np.maximum(bl[:,1],w*(k%4==0))
    cols+=list(bl.T)
    # length and repeats of integer ratio
    P=np.array([D._pulse(D.fold(o.strength+o.low,rate,b)) for b in bpms]).reshape(-1,4)
    cols+=[*P[:,:3].T,P[:,3]*fl]
    Fs=[D.fold(o.strength,rate,b) for b in bpms]
    H=np.array([np.abs(np.fft.rfft(f))[[2,3,6,8]]/(f.sum()+1e-9) for f in Fs]).reshape(-1,4); cols+=list(H.T)
    for reg in range(3):
        cols.append(np.array([np.abs(np.fft.rfft(D.fold(o.registers[:,reg],rate,b)))[1]/(1e-9+D.N_PHASES) for b in bpms]))
    for mult in (2,4,3):
        cols.append(np.array([np.abs(np.fft.rfft(D.fold(o.strength+o.low,rate,b/mult,64)))[1]/(1e-9+64*2) for b in bpms]))
    n_on=(o.strength>3).sum()/len(o.strength)*rate
    dens=np.log2((n_on+.1)*seconds_per_beat(bpms)); cols+=[dens,dens**2]
    whole=np.abs(bpms-np.rint(bpms))*0
    cols.append(np.log2(len(o.strength)/rate/seconds_per_beat(bpms)+1))
    return np.stack(cols,1)
def see(it):
    c=context(it); b,n,w,r=candidates(c)
    if not len(b): return None
    f=features(c,b,n,w,r)
    right=np.abs(b/it['bpm']-1)<0.004
    octv=np.min([np.abs(b/(it['bpm']*k)-1) for k in (.5,2)],0)<0.004
    old=D.features(c.o,b,np.where(w>=0,n,0))@D.WEIGHTS
    use=(r<0)&((n<=8)|(n%4==0)|(n%6==0))
    return dict(x=f.astype(np.float32),right=right,oct=octv,bpm=b,old=np.where(use,old,-1e9),kind=it['kind'],style=it['style'],true=it['bpm'],metre=it['metre'],n=n,w=w,r=r)
if __name__=='__main__':
    import pickle,sys,time
    for k in sys.argv[1:]:
        its=pickle.load(open(k+'.pkl','rb')); t=time.process_time(); out=[]
        for it in its:
            try: s=see(it)
            except Exception as e: print(k,repr(e)); s=None
            if s: out.append(s)
        pickle.dump(out,open(k+'.seen','wb')); print(k,len(out),time.process_time()-t, out[0]['x'].shape, np.isfinite(np.concatenate([o['x'] for o in out])).all())
