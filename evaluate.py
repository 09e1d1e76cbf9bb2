"""Score trained networks: `python evaluate.py checkpoint=A.ckpt[,B.ckpt] [data=...]`; `--help` lists the choices."""

from vsr.commands.evaluate import evaluate_command

if __name__ == "__main__":
    evaluate_command()
