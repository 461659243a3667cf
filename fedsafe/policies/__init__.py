"""Stand-in policies: harmless rules in real English to align to, attack and defend.

`document` reads a policy's YAML file, `draw` makes samples and prompts of it, `tables` asks for
SQL queries on invented tables. Knows nothing of models, judges or experiments.
"""
