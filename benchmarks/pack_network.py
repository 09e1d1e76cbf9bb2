"""Pack a trained network as one of the package: a safetensors file that is a whole checkpoint, and its card.

    vsr train experiment=field_network scale=2 hydra.run.dir=runs/field_x2
    python -m benchmarks.pack_network runs/field_x2 --suits field --summary TEXT

The files are vsr/models/weights/pretrained_files/NAME_xS.safetensors and .md, with the name of the run's config and its scale.
`--suits` is the kind of input for which `vsr upscale` takes the network without being asked: field or film; area for a network
that is only taken by its name.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from vsr.inference.export.formats import ExportTask, export_safetensors
from vsr.inference.export.function import InputAxes, describe_exported_function
from vsr.inference.trained import read_trained
from vsr.models.parameter_names import last_layer_names, parameters_by_name
from vsr.models.residual import StandardizedResidual
from vsr.models.weights.shipped import FOLDER
from vsr.system.files import replacing_file

# Of the description of a checkpoint, what no use of the network needs.
LEFT_OUT = ("config_text", "overrides", "command", "stage_seconds")
LIMITS = {
    "area": ("As field_x2, but LR pixels are means over blocks of HR pixels, as the cells of a model are."),
    "field": (
        "The network has seen generated fields alone, with clean LR by the degradation above. LR that was made in another way "
        "(point values, other filters, noise) is not what it was trained on. It gives the most likely fine field by absolute "
        "error, which is smoother than the truth, and its output is no measurement. Integer classes, such as land cover, are no "
        "fields."
    ),
    "film": (
        "The network has seen ten photographs, with clean LR of this degradation, without noise or compression, and luma alone: "
        "colour is upscaled by bicubic interpolation. It does not invent detail that LR leaves open."
    ),
}


def pack(run: Path, out: Path, suits: str, summary: str) -> Path:
    """Write the network of a run's best epoch and its card.

    Args:
        run: Folder of the run.
        out: Folder for both files.
        suits: Kind of input, "field" or "film".
        summary: One line for `vsr weights`.

    Returns:
        Path of the weights.
    """
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    trained = read_trained(run / "checkpoints" / "best.ckpt")
    for key in LEFT_OUT:
        trained.description.pop(key, None)
    for node in ("logger", "callbacks", "trainer", "hparams_search"):
        trained.description["config"].pop(node, None)
    module = trained.module()
    facts = describe_exported_function(trained, module) | {
        "suits": suits,
        "summary": summary,
        "data_sha256": results["protocol"]["data"]["sha256"],
        "seed": str(results["config"]["seed"]),
        "commit": str(results["versions"]["commit"]),
    }
    if isinstance(module.network, StandardizedResidual):  # what init=pretrained adapts
        names = list(parameters_by_name(module.network))
        facts["first"] = next(name for name in names if name.endswith(".weight")).removesuffix(".weight")
        facts["last"] = last_layer_names(module.network)[0].removesuffix(".weight")
    content = export_safetensors(ExportTask(trained, module, InputAxes.of(module, trained.channels), facts)).content
    name = f"{results['config']['name']}_x{results['config']['scale']}"
    with replacing_file(out / f"{name}.safetensors") as temporary:
        temporary.write_bytes(content)
    with replacing_file(out / f"{name}.md") as temporary:
        temporary.write_text(card(name, facts, results), encoding="utf-8")
    return out / f"{name}.safetensors"


def card(name: str, facts: dict[str, str], results: dict[str, Any]) -> str:
    """Return the card in Markdown from the header of the file and results.json of the run."""
    config, data = results["config"], results["protocol"]["data"]
    recipe = config["recipe"]
    rows = {row["method"]: row for row in results["rows"] if row["split"] == "test"}
    own = rows[config["name"]]
    overrides = results["provenance"]["command"].split()[1:]
    typed = f"vsr train {' '.join(one for one in overrides if not one.startswith('hydra.'))}"
    frames = ", ".join(f"{count} {part}" for part, count in data["frames"].items())
    lines = [
        f"# {name}",
        "",
        f"{facts['summary']}",
        "",
        "| | |",
        "|---|---|",
        f"| network | {config['model']['_target_'].rpartition('.')[2]}, {own['parameters']:,} parameters |",
        f"| data | {facts['data']}, frames: {frames}; sha256 of all frames `{facts['data_sha256'][:16]}` |",
        f"| degradation | {facts['degradation']} x{config['scale']} |",
        f"| recipe | {recipe['loss']}, {recipe['schedule']} to {recipe['rate']:g}, {config['epochs']} epochs of "
        f"{recipe['steps']} steps of {recipe['batch']} patches of {recipe['patch']}x{recipe['patch']} LR pixels, averaged "
        f"weights ({recipe['ema']}); the best epoch by {config['monitor']}; {own['train_seconds'] / 60:.0f} min on one core |",
        f"| seed | {facts['seed']} |",
        f"| code | vsr {facts['vsr']}, commit {facts['commit']}, torch {results['versions']['torch']} |",
        f"| command | `{typed}` |",
        "| terms | [README](README.md) |" if facts["suits"] == "film" else "| terms | those of vsr; the data are generated |",
        "",
        "Gain over bicubic on the test frames of its own data, dB:",
        "",
        "| | over bicubic | SSIM |",
        "|---|---:|---:|",
    ]
    for method, row in rows.items():
        lines.append(f"| {method} | {row['psnr'] - rows['bicubic']['psnr']:+.2f} | {row['ssim']:.4f} |")
    if facts["suits"] != "film":
        lines += ["", "On fields of other projects: docs/results/fields.md."]
    lines += ["", f"Limits: {LIMITS[facts['suits']]}", "", "Written by `benchmarks/pack_network.py`.", ""]
    return "\n".join(lines)


def main() -> None:
    """Pack the network of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--suits", choices=sorted(LIMITS), required=True)
    parser.add_argument("--summary", required=True)
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    print(pack(given.run, given.out, given.suits, given.summary))


if __name__ == "__main__":
    main()
