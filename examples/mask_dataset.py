"""
A dataset of masks for PyTorch: the data loader's workers open the stream themselves, and read a batch at a time.

    python examples/mask_dataset.py [STREAM] [--workers N] [--start fork|forkserver|spawn]
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

import alphastream_gpu


class MaskDataset:
    """The masks of a stream: float32 (1, height, width), 0 or 1."""

    def __init__(self, source: str, size: tuple[int, int] | None = None) -> None:
        self.masks = alphastream_gpu.open_array(source, size, dtype="bool")

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: int) -> npt.NDArray[np.float32]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[npt.NDArray[np.float32]]:
        return list(self.masks[indices].astype(np.float32)[:, None])


def main() -> None:
    parser = argparse.ArgumentParser(description="Read the masks of a stream in random order, in workers of PyTorch.")
    parser.add_argument("stream", nargs="?", default=str(Path(__file__).with_name("person_sbs.asvp")))
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--start", choices=("fork", "forkserver", "spawn"), help="how workers are started")
    options = parser.parse_args()

    from torch.utils.data import DataLoader  # after the options, so that --help needs no PyTorch

    dataset = MaskDataset(options.stream, (512, 256))
    loader = DataLoader(
        dataset, batch_size=16, shuffle=True, num_workers=options.workers, multiprocessing_context=options.start
    )
    areas = [float(area) for batch in loader for area in batch.mean((1, 2, 3))]
    print(f"{len(areas)} masks; on average, {np.mean(areas):.1%} of the pixels are set")


if __name__ == "__main__":
    main()
