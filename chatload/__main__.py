"""`python -m chatload` is the `chatload` command."""

from chatload.cli import run

if __name__ == "__main__":  # a process that multiprocessing spawns imports this file too
    run()
