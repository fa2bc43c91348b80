"""What is compiled where there is a compiler, and done by Python where there is none.

`run_cipher.c` is built by `python -m multiwanbond.native.build`, which `scripts/setup.sh` calls.
Nothing else is needed to run, and nothing differs but the processor time.
"""
