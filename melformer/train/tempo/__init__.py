"""`melformer train tempo`: the beat tracker, from material to the weights in a checkpoint."""

from argparse import Namespace
from pathlib import Path

from melformer.errors import RequestError

WEIGHTS_FILE = "tempo.safetensors"
CALIBRATION_SHARE = 0.15


def train_tempo(args: Namespace) -> None:
    """Compose passages, train the network on them, fit the decoder on others, write RUN/tempo.safetensors.

    What is there already is used again. Errors: RequestError.
    """
    if args.passages < 20 or args.steps < 1:
        raise RequestError(f"--passages is {args.passages} and --steps {args.steps}; at least 20 and 1 are needed.")
    import torch
    from safetensors.numpy import load_file, save_file

    from melformer.files import atomic_path, only_writer
    from melformer.train.tempo import tempo_decoder, tempo_fit, tempo_material

    torch.set_num_threads(1)
    run = Path(args.out)
    with only_writer(run):
        train, held = run / "train", run / "calibration"
        n_held = max(10, round(CALIBRATION_SHARE * args.passages))
        styles = tempo_material.training_styles()
        tempo_material.write_examples(train, args.seed, args.passages, styles, args.workers)
        both = (styles, tempo_material.CALIBRATION_STYLES)
        for number, names in enumerate(both, 1):  # styles it knows, and styles that it does not
            tempo_material.write_examples(held, args.seed + number, n_held, names, args.workers, sound=True)
        network = run / "network.safetensors"
        if not network.exists():
            options = tempo_fit.FitOptions(steps=args.steps, seed=args.seed)
            tempo_fit.fit([train], run / "unfinished.safetensors", options)
            (run / "unfinished.safetensors").rename(network)
        weights = load_file(network)
        decoder = tempo_decoder.fit_decoder(tempo_decoder.see_all(held, weights))
        with atomic_path(run / WEIGHTS_FILE) as temporary:
            save_file({**weights, **decoder}, temporary)
    print(run / WEIGHTS_FILE)
