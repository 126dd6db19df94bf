"""Writes a dataset's shards on Apache Beam, if asked to.

For builders of TFDS's ShardBasedBuilder, whose shards can be pickled. Beam comes with the tfds extra
and is imported by TFDS alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def take_runner_from_options(config: Any) -> None:
    """Sets a config's runner from its Beam options, if they name one.

    `tfds build --beam_pipeline_options=runner=...` sets only the options, and TFDS's ShardBasedBuilder
    reads only the runner.

    Args:
      config: tfds.download.DownloadConfig.
    """
    if config.beam_options is None or config.beam_runner is not None:
        return
    config.beam_runner = config.beam_options.get_all_options().get("runner") or "DirectRunner"


def write_splits(
    builder: Any,
    shards: Mapping[str, Sequence[Callable[[], Iterator[tuple[str, dict[str, Any]]]]]],
    config: Any,
) -> None:
    """Writes the shards on Beam's workers, split after split, and records the splits in the builder.

    Args:
      builder: a tfds.core.ShardBasedBuilder in the middle of its build.
      shards: split name -> its shards in order; called on the workers, which must see the same folders.
      config: tfds.download.DownloadConfig with a beam_runner.
    """
    from tensorflow_datasets.core import split_builder, splits

    infos = []
    for name, callables in shards.items():
        # One SplitBuilder per split: with one for all, as in TFDS, the pipeline of a split contains
        # those of the splits before, which are then written again.
        writer = split_builder.SplitBuilder(
            split_dict=builder.info.splits,
            features=builder.info.features,
            dataset_size=builder.info.dataset_size,
            beam_options=config.beam_options,
            beam_runner=config.beam_runner,
            max_examples_per_split=None,
            example_writer=builder._example_writer(),
        )
        future = writer.submit_shard_based_generation(
            split_name=name,
            filename_template=builder._get_filename_template(split_name=name),
            example_gen_per_shard=callables,
        )
        infos.append(future.result())
    builder.info.set_splits(splits.SplitDict(infos))
    for path in Path(builder.data_path).glob("*.shard_infos.json"):
        path.unlink()  # TFDS needs them only during the build
