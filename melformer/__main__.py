"""`python -m melformer` is the `melformer` command."""

import sys

from melformer.cli import main

sys.exit(main())
