"""The processes that notebooks run in."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from jupyter_client import KernelManager


class Stopped(Exception):
    """A notebook that was running, or about to, when `Kernels.stop` was called."""


class Kernels:
    """The processes that notebooks run in; another thread can stop them all.

    variables: of the environment, beside those of this process.
    """

    def __init__(self, **variables: str):
        self.variables = variables
        self.running: list[KernelManager] = []
        self.stopped = False
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def start(self, folder: Path) -> Iterator[KernelManager]:
        """A kernel in `folder`, ended with the block. Raises `Stopped` after `stop`."""
        client = "jupyter_client.asynchronous.AsyncKernelClient"
        kernel = KernelManager(kernel_name="python3", client_class=client)
        with self.lock:
            if self.stopped:
                raise Stopped
            environment = {**os.environ, **self.variables}
            quiet = ["--log-level=ERROR"]
            kernel.start_kernel(cwd=str(folder), env=environment, extra_arguments=quiet)
            self.running.append(kernel)
        client = kernel.client()
        kernel.client = lambda: client  # nbclient does not close that of a kernel it is given
        try:
            yield kernel
        finally:
            with self.lock:
                self.running.remove(kernel)
            client.stop_channels()
            kernel.shutdown_kernel(now=True)

    def stop(self) -> None:
        """End them at once, and let none start any more."""
        with self.lock:
            self.stopped = True
            for kernel in self.running:
                kernel.provisioner.process.kill()
