"""Sharpen a movie with a trained network: `python upscale.py checkpoint=FILE input=FILE`; `--help` lists the choices."""

from vsr.commands.upscale import upscale_command

if __name__ == "__main__":
    upscale_command()
