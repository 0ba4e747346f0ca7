"""Work on a GPU recorded once and then replayed: a thousand small launches become one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Work = Callable[..., tuple[Any, ...]]


class Replayed:
    """A function that is recorded as a CUDA graph and replayed, to the same numbers.

    The first call runs the function as it is, on the stream of the recording, so that libraries set
    themselves up; the second records it; all later ones with tensors of these shapes and equal constants
    copy the tensors into the recording's own and replay it. Others (the last batch of an epoch) run as they
    are.

    Parameters
    ----------
    work : callable
        Takes tensors and constants, returns a tuple. Whatever else it reads or writes must stay where it is
        in memory, and its course must not depend on values of tensors: the recording sees neither.

    Notes
    -----
    What a call returns lies in the recording's memory, and the next call overwrites it.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.kinds: list[Any] | None = None
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """Return what the function returns."""
        kinds = [(v.shape, v.dtype) if isinstance(v, Tensor) else v for v in inputs]
        if self.kinds is None:
            self.kinds, self.stream = kinds, torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                outputs = self.work(*inputs)
            torch.cuda.current_stream().wait_stream(self.stream)
            return outputs
        if kinds != self.kinds:
            return self.work(*inputs)
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            self.inputs = [v.clone() if isinstance(v, Tensor) else v for v in inputs]
            with torch.cuda.graph(self.graph, stream=self.stream):
                self.outputs = self.work(*self.inputs)
        for own, value in zip(self.inputs, inputs, strict=True):
            if isinstance(own, Tensor):
                own.copy_(value)
        self.graph.replay()
        return self.outputs
