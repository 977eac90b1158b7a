"""What all seven systems share: players who each own parameters and an objective, and who all move at once.

One forward pass serves every player. All gradients are taken before anyone steps, each for exactly the parameters its
player owns, so nothing has to be detached and no graph is used after its parameters changed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.device import Backend
from zoo.errors import CheckpointError, UsageError, shown
from zoo.randomness import derived_seed


class PlayersTrainer(ABC):
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
                torch.default_generator.manual_seed(derived_seed(self.seed, "initial weights of the loss"))
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
        if type(steps_done) is not int or steps_done < 0:
            raise CheckpointError(f"trainer state has steps_done {shown(steps_done)}; it is of another trainer")
        for name, tensor in self._loss_state().items():
            found = left.pop(f"loss/{name}", None)
            if found is None or found.shape != tensor.shape or found.dtype != tensor.dtype:
                raise CheckpointError(
                    f"trainer state has no loss/{name} of shape {tuple(tensor.shape)} and {tensor.dtype}; it is of "
                    "another loss"
                )
            tensor.copy_(found)
        of_parameter: dict[str, dict[str, Tensor]] = {}
        for key in left:
            prefix, _, quantity = key.rpartition("/")
            of_parameter.setdefault(prefix, {})[quantity] = left[key]
        for player, optimiser in self.optimisers.items():
            scalar = self._quantities(player)
            for name, parameter in self.parameters[player].items():
                prefix = f"{player}/{name}"
                state = of_parameter.pop(prefix, {})
                if steps_done and not scalar.keys() <= state.keys():
                    lost = ", ".join(sorted(scalar.keys() - state.keys()))
                    raise CheckpointError(f"trainer state has no {lost} of {prefix}; it is of another model or loss")
                for quantity, value in state.items():
                    _check(f"{prefix}/{quantity}", value, parameter, scalar=scalar.get(quantity))
                    optimiser.state[parameter][quantity] = _like(value, parameter)
        if of_parameter:
            raise CheckpointError(
                f"trainer state has unknown tensors for {len(of_parameter)} names, such as {shown(min(of_parameter))}"
            )
        self.steps_done = steps_done

    def _quantities(self, player: str) -> dict[str, bool]:
        """What a player's optimiser gathers for each parameter, and whether that is one number: seen by trying it."""
        trial = nn.Parameter(torch.zeros(2))
        trial.grad = torch.zeros(2)
        optimiser = self._optimiser(player, [trial])
        optimiser.step()
        return {quantity: torch.as_tensor(value).dim() == 0 for quantity, value in optimiser.state[trial].items()}

    def _loss_state(self) -> dict[str, Tensor]:
        return self.loss.state_dict() if isinstance(self.loss, nn.Module) else {}


def owned(modules: list[nn.Module]) -> dict[str, nn.Parameter]:
    """Return all parameters of some modules, under names that stay the same between runs."""
    return {
        f"{index}.{name}": parameter
        for index, module in enumerate(modules)
        for name, parameter in module.named_parameters()
    }


def _check(name: str, value: Tensor, parameter: nn.Parameter, *, scalar: bool | None) -> None:
    """Raise CheckpointError for a tensor that an optimiser cannot go on from. `scalar` None: it does not ask for it."""
    if scalar is None:
        scalar = value.dim() == 0
    shape = torch.Size() if scalar else parameter.shape
    if value.shape != shape or value.dtype != torch.float32:
        raise CheckpointError(
            f"trainer state {name} is {tuple(value.shape)} {value.dtype}, expected {tuple(shape)} torch.float32; the "
            "checkpoint is of another model"
        )
    if not bool(torch.isfinite(value).all()) or (scalar and float(value) < 0):
        raise CheckpointError(f"trainer state {name} holds numbers that no training leaves")


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """A state tensor where its parameter is, in its layout; a step counter stays on the CPU."""
    return value.clone() if value.dim() == 0 else torch.empty_like(parameter).copy_(value)
