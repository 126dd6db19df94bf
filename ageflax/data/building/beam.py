"""Writing a dataset's shards on Apache Beam instead of here: only where it is asked for.

For builders of TFDS's ShardBasedBuilder, whose shards can be pickled. Beam itself comes with the tfds
extra and is imported by TFDS, not here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def take_runner_from_options(config: Any) -> None:
    """Names the runner that the Beam options ask for, if any.

    `tfds build --beam_pipeline_options=runner=...` sets the options alone, and TFDS's
    ShardBasedBuilder looks at the runner alone.

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
    """Writes the shards by Beam's workers, split after split, and tells the builder.

    Args:
      builder: a tfds.core.ShardBasedBuilder, in the middle of its build.
      shards: of each split, in order; called on the workers, which must see the same folders.
      config: tfds.download.DownloadConfig with a beam_runner.
    """
    from tensorflow_datasets.core import split_builder, splits

    infos = []
    for name, callables in shards.items():
        # One SplitBuilder for each: with one for all, as TFDS has it, the pipeline of a split
        # contains those of the splits before, which are written again each time.
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
        path.unlink()  # TFDS's notes, of use only during the build
