"""Sharpen a movie with a trained network: `python upscale.py checkpoint=FILE input=FILE`; `--help` lists the choices."""

from vsr.commands.upscale import main

if __name__ == "__main__":
    main()
