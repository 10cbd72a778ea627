"""Run the notebooks from a clean kernel and keep what they show.

    python examples/run_notebooks.py [notebooks/tabular.ipynb ...]

Without arguments all of them are run. A notebook is only written if all of its cells ran.
"""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent / "notebooks"


def execute(path: Path, timeout: int = 300) -> nbformat.NotebookNode:
    """The notebook with the outputs of a run in a clean kernel, in the notebook's folder.

    Args:
        path: The notebook.
        timeout: Seconds that a cell may take.

    Raises:
        CellExecutionError: If a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],  # what C++ writes at its start
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = merged(cell.outputs)
    return notebook


def merged(outputs: list) -> list:
    """The outputs, what was printed in one go in one piece."""
    found = []
    for output in outputs:
        last = found[-1] if found else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last.text += output.text
        else:
            found.append(output)
    return found


def main(paths: list[Path]) -> None:
    for path in paths:
        start = time.perf_counter()
        nbformat.write(execute(path), path)
        print(f"{path.name:40s} {time.perf_counter() - start:6.1f} s", flush=True)


if __name__ == "__main__":
    main([Path(name).resolve() for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")))
