"""What processes share, told by each of them: its arguments are read by none."""

import json

import torch

from factory.train import ranks

ranks.join()
done = []


def work(item: int) -> list[int]:
    done.append(item)
    return [item, ranks.rank()]


weights = [torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(1))]
if not ranks.first():
    weights[0].grad = torch.full((2, 3), 0.5 * ranks.rank())
made = [ranks.shared(range(count), work) for count in (5, 1)]
told = ranks.of_first(lambda: ["told", ranks.rank()])
ranks.add_up(weights)
print(json.dumps([done, made, told, [weight.grad.tolist() for weight in weights]]))
ranks.meet()
