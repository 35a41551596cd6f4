"""How the beat tracker of `audio/tempo` is trained: material, network, decoder."""
