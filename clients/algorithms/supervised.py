"""Supervised fine-tuning on the client's own samples: FedAvg's local training.

McMahan et al., *Communication-Efficient Learning of Deep Networks from Decentralized
Data*, AISTATS 2017.
"""

from fedsafe.contracts import LocalTask, ModelContext, algorithms


@algorithms("supervised", paper="McMahan et al., AISTATS 2017")
def supervised(context: ModelContext, task: LocalTask, /) -> None:
    """Fine-tune on the client's own samples by next-token cross entropy."""
    context.fit(task.samples, steps=task.steps)
