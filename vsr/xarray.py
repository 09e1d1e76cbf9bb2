"""Accessor `.vsr` of xarray: `dataset.vsr.upscale()`. `import vsr.xarray` adds it to every DataArray and Dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray

if TYPE_CHECKING:
    from vsr.inference.upscaler import Upscaler


@xarray.register_dataset_accessor("vsr")
@xarray.register_dataarray_accessor("vsr")
class VsrAccessor:
    """Methods of vsr on a DataArray or a Dataset.

    Args:
        movie: The object that has the accessor.
    """

    def __init__(self, movie: Any) -> None:
        self._movie = movie

    def upscale(self, network: str | Path | Upscaler | None = None, *, scale: int = 2, **options: Any) -> Any:
        """Upscale the movie along rows and columns; lazily if its values are Dask arrays.

        Args:
            network: A checkpoint, "pretrained:NAME" for a network of the package, or what `vsr.load` returned; None for the
                network of the package for fields of any unit, or that for means over grid cells where `cell_methods` says so.
            scale: SR pixels per LR pixel, where `network` is None.
            **options: Options of `vsr.load`, such as `periodic`, `memory` or `members`.

        Returns:
            An object of the same type, with the same dimensions, attributes and refined coordinates. Values that were Dask
            arrays stay Dask arrays, and `compute`, `to_zarr` or `to_netcdf` computes them: bit for bit what the movie in memory
            gives.

        Raises:
            UserError: As `vsr.load` and `Upscaler.upscale`.
        """
        from vsr.inference.upscaler import Upscaler, load_upscaler
        from vsr.models.weights.shipped import kind_of_field, shipped_for

        if isinstance(network, Upscaler):
            if options:
                raise TypeError(f"{', '.join(options)}: options belong to vsr.load, which made the network")
            return network.upscale(self._movie)
        if network is None:
            arrays = list(getattr(self._movie, "data_vars", {}).values()) or [self._movie]
            kinds = {kind_of_field(array.attrs) for array in arrays}
            network = shipped_for(kinds.pop() if len(kinds) == 1 else "field", scale)
        return load_upscaler(network, **options).upscale(self._movie)
