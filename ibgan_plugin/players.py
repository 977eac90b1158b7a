"""What all seven systems share: players who each own parameters and an objective, and who all move at once.

One forward pass serves every player. All gradients are taken before anyone steps, each for exactly the parameters its
player owns, so nothing has to be detached and no graph is used after its parameters changed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.device import Backend
from zoo.errors import CheckpointError, UsageError
from zoo.randomness import derived_seed


class PlayersTrainer:
    """The step of Algorithm 1 for any set of players; subclasses say what a forward pass is and who optimises how."""

    def __init__(self, model: Any, loss: Any, *, seed: int, backend: Backend) -> None:
        self.model, self.loss, self.seed, self.backend = model, loss, seed, backend
        self.steps_done = 0
        self._bind_loss()
        self.parameters = {player: owned(modules) for player, modules in self._players().items()}
        self.optimisers = {player: self._optimiser(player, list(p.values())) for player, p in self.parameters.items()}

    @abstractmethod
    def _forward(self, images: Tensor, step: int) -> Any:
        """Run the networks on a batch and return what the loss takes."""

    @abstractmethod
    def _optimiser(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a player's optimiser."""

    def _players(self) -> Mapping[str, list[nn.Module]]:
        """The model's players, and those that the loss brings."""
        players: dict[str, list[nn.Module]] = dict(self.model.players())
        for player, modules in self.loss.players().items() if hasattr(self.loss, "players") else ():
            if player in players:
                raise UsageError(
                    f"{type(self.loss).__name__} brings a player {player!r}, which {type(self.model).__name__} has "
                    "already; choose a loss that goes with the model"
                )
            players[player] = modules
        return players

    def _bind_loss(self) -> None:
        """Let a loss make networks that depend on the model; their weights depend on the run's seed alone."""
        if hasattr(self.loss, "bind"):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derived_seed(self.seed, "initial weights of the loss"))
                self.loss.bind(self.model)
            if isinstance(self.loss, nn.Module):
                self.backend.place(self.loss)

    def step(self, images: Tensor) -> dict[str, Tensor]:
        """Update every player on float32 (n, C, H, W) images in [0, 1]; return the terms of the objective, detached."""
        self.model.train()
        step = self.steps_done + 1
        with self.backend.autocast():
            terms = self.loss.terms(self._forward(images, step))
        objectives = self.loss.objectives(terms)
        if objectives.keys() != self.parameters.keys():
            raise UsageError(
                f"{type(self.loss).__name__} has objectives for {', '.join(objectives)}, but the players of "
                f"{type(self.model).__name__} are {', '.join(self.parameters)}; choose a loss that goes with the model"
            )
        gradients = self._gradients(objectives, terms)
        for player, optimiser in self.optimisers.items():
            for parameter, gradient in zip(self.parameters[player].values(), gradients[player], strict=True):
                parameter.grad = gradient
            optimiser.step()
        self.steps_done = step
        return {name: term.detach() for name, term in terms.items()}

    def _gradients(
        self, objectives: Mapping[str, Tensor], terms: Mapping[str, Tensor]
    ) -> dict[str, tuple[Tensor, ...]]:
        """Return d(objective)/d(parameters) for each player."""
        last = list(self.parameters)[-1]
        return {
            player: torch.autograd.grad(objectives[player], list(parameters.values()), retain_graph=player != last)
            for player, parameters in self.parameters.items()
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the optimisers' tensors by `player/parameter/quantity`, the networks of the loss, if it has any, by
        `loss/parameter`, and the number of steps done.
        """
        tensors = {f"loss/{name}": tensor for name, tensor in self._loss_state().items()}
        for player, optimiser in self.optimisers.items():
            for name, parameter in self.parameters[player].items():
                for quantity, value in optimiser.state[parameter].items():
                    tensors[f"{player}/{name}/{quantity}"] = torch.as_tensor(value)
        return tensors, {"steps_done": self.steps_done}

    def load(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Take a `state()` back. Raises CheckpointError if it is another trainer's."""
        left, steps_done = dict(tensors), values.get("steps_done")
        if not isinstance(steps_done, int):
            raise CheckpointError(f"trainer state has steps_done {steps_done!r}; it is of another trainer")
        for name, tensor in self._loss_state().items():
            if f"loss/{name}" not in left or left[f"loss/{name}"].shape != tensor.shape:
                raise CheckpointError(
                    f"trainer state has no loss/{name} of shape {tuple(tensor.shape)}; it is of another loss"
                )
            tensor.copy_(left.pop(f"loss/{name}"))
        for player, optimiser in self.optimisers.items():
            for name, parameter in self.parameters[player].items():
                prefix = f"{player}/{name}/"
                state = {key.removeprefix(prefix): left.pop(key) for key in list(left) if key.startswith(prefix)}
                if steps_done and not state:
                    raise CheckpointError(f"trainer state has nothing of {prefix}; it is of another model or loss")
                for quantity, value in state.items():
                    if value.dim() and value.shape != parameter.shape:
                        raise CheckpointError(
                            f"trainer state {prefix}{quantity} has shape {tuple(value.shape)}, "
                            f"expected {tuple(parameter.shape)}; the checkpoint is of another model"
                        )
                    optimiser.state[parameter][quantity] = _like(value, parameter)
        if left:
            raise CheckpointError(f"trainer state has {len(left)} unknown tensors, such as {sorted(left)[0]!r}")
        self.steps_done = steps_done

    def _loss_state(self) -> dict[str, Tensor]:
        return self.loss.state_dict() if isinstance(self.loss, nn.Module) else {}


def owned(modules: list[nn.Module]) -> dict[str, nn.Parameter]:
    """Return all parameters of some modules, under names that stay the same between runs."""
    return {
        f"{index}.{name}": parameter
        for index, module in enumerate(modules)
        for name, parameter in module.named_parameters()
    }


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """A state tensor where its parameter is, in its layout; a step counter stays on the CPU."""
    return value.clone() if value.dim() == 0 else torch.empty_like(parameter).copy_(value)
