"""Train a network and score it: `python train.py model=fsrcnn data=climate`; `--help` lists the choices."""

from vsr.commands.train import train_command

if __name__ == "__main__":
    train_command()
