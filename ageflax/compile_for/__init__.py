"""The real compilers of accelerators that are not there: what a recipe will need before one is rented.

`python -m ageflax.compile_for` runs `__main__`, which imports the rest when it is needed: --help should
not wait for JAX.
"""
