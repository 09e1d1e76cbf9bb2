"""Train a network and score it: `python train.py model=fsrcnn data=climate`; `--help` lists the choices."""

from vsr.commands.train import main

if __name__ == "__main__":
    main()
