"""bank2.py KIND OUT [lo hi]: what detection needs of clips, saved compactly."""
import glob, json, sys, pickle
from pathlib import Path
import numpy as np
from scipy.signal import resample_poly
sys.path.insert(0,'/work/run/tempo3/code/bt')
import tempo_material as tm
from tempo_material import Grid, Example, _whole, _cut, _spoil, SAMPLE_RATE, METRES, load_examples
from melformer.audio.waveform import Waveform
from melformer.audio.io import read_waveform, audio_files
from melformer.audio.edges import find_edges
from melformer.audio.onsets import find_onsets
from melformer.audio.repeats import find_repeats, self_similarity
from melformer.audio.tempo import _between
BARS={"4/4":4,"3/4":3,"5/4":5,"7/8":7,"6/8":2}
def brief(w, truth, **meta):
    e=find_edges(w)
    sound=_between(w,e.start_s,e.stop_s)
    o=find_onsets(sound)
    sim=self_similarity(o.levels[::2])
    reps=find_repeats(sound,sim,o.rate/2)
    return dict(levels=o.levels.astype(np.float16),rate=o.rate,edges=e,reps=reps,duration=w.duration_s,**truth,**meta)
def engine(lo,hi):
    for f in sorted(glob.glob('/work/run/data/cache/2001_*.json'))[lo:hi]:
        m=json.load(open(f)); x=np.load(f[:-5]+'.npy',mmap_mode='r')
        rng=np.random.default_rng([77,m['i']])
        bar=BARS[m['metre']]; bar_s=60/m['bpm']*bar
        n_bars=m['n_beats']//bar
        take=min(n_bars,int(rng.choice([1,2,2,4,4,4,8,8])))
        if take*bar_s>24: take=max(1,int(24/bar_s))
        first=int(rng.integers(0,n_bars-take+1))
        a,b=round(first*bar_s*44100),round((first+take)*bar_s*44100)
        mono=np.asarray(x[...,a:b],np.float32).sum(0).mean(0)
        if np.abs(mono).max()<1: continue
        mono=resample_poly(mono/32768,1,2).astype(np.float32)
        n=round(take*bar_s*SAMPLE_RATE); mono=np.pad(mono,(0,max(0,n-len(mono))))[:n]
        g=Grid(m['bpm'],0.0,bar,METRES.index(m['metre']),0.0,take*bar_s)
        for kind,fn in (('whole',_whole),('cut',_cut)):
            ex=_spoil(fn(mono,g,rng),rng,m['style'])
            yield ex.waveform, ex.grid, kind, m['style']
def cal():
    for f in sorted(Path('/work/run/tempo/cal').glob('*.npz')):
        with np.load(f) as d: st=d['styles']
        for (s,g,whole,_),style in zip(load_examples([f]),st):
            yield Waveform(s.astype(np.float32)/32767,SAMPLE_RATE), g, 'whole' if whole else 'cut', str(style)
def truth(g): return dict(bpm=g.bpm,beat_s=g.beat_s,bar=g.beats_per_bar,metre=METRES[g.metre],start_s=g.start_s,stop_s=g.stop_s)
import re
def real(folder,cuts,n=None):
    rng=np.random.default_rng(1)
    for p in audio_files(Path(folder)):
        w=read_waveform(p); bpm=float(re.search(r"_([\d.]+)bpm",p.name)[1])
        if n: w=w.slice(0,min(w.n_samples,round(n*60/bpm*w.sample_rate)))
        t=dict(bpm=bpm,beat_s=0.0,bar=4,metre='4/4',start_s=0.0,stop_s=w.duration_s)
        yield w,t,'whole',p.name
        for _ in range(cuts):
            length,start=round(rng.uniform(4,12)*w.sample_rate),int(rng.integers(w.n_samples))
            r=np.tile(w.samples,(-(-(start+length)//w.n_samples),1))[start:start+length]
            yield Waveform(r,w.sample_rate),dict(t,beat_s=-(start/w.sample_rate)%(240/bpm),stop_s=length/w.sample_rate),'cut',p.name
kind,out=sys.argv[1:3]
items=[]
if kind=='engine': src=((w,truth(g),k,s) for w,g,k,s in engine(int(sys.argv[3]),int(sys.argv[4])))
if kind=='cal': src=((w,truth(g),k,s) for w,g,k,s in cal())
if kind=='a': src=real('/work/run/sets/a',20)
if kind=='b': src=real('/work/run/sets/b',0,24)
for w,t,k,s in src:
    if not np.abs(w.samples).max()>0: continue
    try: items.append(brief(w,t,kind=k,style=s))
    except Exception as e: print(s,k,repr(e))
pickle.dump(items,open(out,'wb'))
print(len(items))
