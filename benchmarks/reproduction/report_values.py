"""Values of Tables 1 to 8 of the report ("Reconstruction of High Resolution Movies using Transfer Learning")."""

from __future__ import annotations

from typing import NamedTuple


class Scores(NamedTuple):
    """MSE, SSIM and PSNR in dB."""

    mse: float
    ssim: float
    psnr: float


class Epoch(NamedTuple):
    """Scores on the frames of training and of validation."""

    train: Scores
    val: Scores


# Table 2 repeats the epoch 0 of Table 1.
UNTRAINED = Epoch(Scores(0.1787, 0.0206, 7.6772), Scores(0.0853, 0.0334, 10.6893))
# The report's epoch -> its scores.
TRAINED: dict[str, dict[int, Epoch]] = {
    "table1": {0: UNTRAINED, 100: Epoch(Scores(1.3292e-4, 0.9764, 38.9665), Scores(1.4266e-4, 0.9744, 38.4576))},
    "table2": {0: UNTRAINED, 150: Epoch(Scores(6.4832e-5, 0.9871, 41.8839), Scores(7.0370e-5, 0.9859, 41.5278))},
    "table3": {
        0: Epoch(Scores(0.0342, 0.6628, 14.7373), Scores(0.0280, 0.6572, 15.5334)),
        100: Epoch(Scores(0.0226, 0.7377, 16.4686), Scores(0.0231, 0.7262, 16.3682)),
    },
    "table4": {  # MSE in code values 0 to 255
        0: Epoch(Scores(2504.1546, 0.4550, 16.4601), Scores(518.8638, 0.5568, 20.9809)),
        100: Epoch(Scores(99.3784, 0.8788, 28.2013), Scores(128.0339, 0.8552, 27.1830)),
    },
    "table5": {
        0: Epoch(Scores(0.0984, 0.6668, 11.7868), Scores(0.0051, 0.9022, 22.9122)),
        67: Epoch(Scores(8.4290e-4, 0.9837, 40.7561), Scores(1.0119e-4, 0.9812, 39.9499)),
    },
    "table6": {
        0: Epoch(Scores(0.0750, 0.7401, 15.3667), Scores(0.0019, 0.9306, 27.2128)),
        80: Epoch(Scores(4.5721e-5, 0.9907, 43.4010), Scores(4.9283e-5, 0.9896, 43.0746)),
    },
}
# PSNR of the networks' inputs in dB; the report gives none for Tables 1, 2 and 4.
INPUT = {"table3": 13.8458, "table5": 42.08, "table6": 42.0}
CHAINS: dict[str, dict[str, Scores]] = {
    "table7": {
        "2D network": Scores(7.593760673e-05, 0.9847759507, 41.2019019552),
        "after repacking": Scores(8.1247606238e-05, 0.9846107211, 40.9071674094),
        "network": Scores(0.0096011151711, 0.8034505617, 20.1770329243),
    },
    "table8": {
        "2D network": Scores(5.8076636004e-05, 0.9878241594, 42.3663278768),
        "after repacking": Scores(6.1785883813e-05, 0.9877120117, 42.0952205449),
        "network": Scores(4.6326994377e-05, 0.9910728458, 43.3458676407),
    },
}
CEILING = 48.0  # dB, "the maximum of PSNR"
