"""``python -m optimizers.cli`` is the command ``optimize``."""

from optimizers.cli.app import main

main()
