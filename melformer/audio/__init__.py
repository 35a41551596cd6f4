"""Audio on the beat grid: validated waveforms in and out, tempo, and the `.tiaf` format. No torch here."""
