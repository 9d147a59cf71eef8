"""Diffusion teacher of two conditional denoisers: image to mask, and mask to image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.networks.schedulers import DDIMScheduler
from torch import Tensor, nn
from torch.nn import functional

from monai_semiseg.errors import ConfigError


class DiffusionTeacher(nn.Module):
    """Mask pathway M and image pathway G on one noise schedule.

    With ``q(v, t) = sqrt(a_t) v + sqrt(1 - a_t) n``, ``n ~ N(0, I)``:

    * ``M(m_t, x, t)`` gives logits of the clean mask; masks are class probabilities p, noised as
      ``2 p - 1``.
    * ``G(x_t, p, t)`` gives the velocity ``sqrt(a_t) n - sqrt(1 - a_t) x``, from which the clean
      image follows without a division (Salimans and Ho, Progressive distillation, ICLR 2022).

    A mask always starts as pure noise at the last timestep, in training and in testing alike, and
    is made by deterministic DDIM steps (Song et al., ICLR 2021). Ciampi et al., Semi-supervised
    biomedical image segmentation via diffusion models and teacher-student co-training (arXiv
    2504.01547); what differs from it is in the bundle's docs.

    As a network of its own (``teacher(images)``) it gives the logarithm of the mean probability
    over ``samples`` masks, from noise of a fixed ``seed``: the same image gives the same mask.

    Args:
        mask_network: ``(B, classes + channels, spatial...)`` and timesteps -> ``(B, classes,
            spatial...)``.
        image_network: ``(B, channels + classes, spatial...)`` and timesteps -> ``(B, channels,
            spatial...)``.
        classes: of the mask, background included.
        timesteps: of the noise schedule (cosine).
        steps: of DDIM, from noise to mask.
        round_level: share of ``timesteps`` at which :meth:`rounds` reconstruct; more noise keeps
            less of the image.
        samples: masks that are averaged when it is called as a network.
        seed: of their noise.

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(
        self,
        mask_network: nn.Module,
        image_network: nn.Module,
        classes: int,
        timesteps: int = 1000,
        steps: int = 1,
        round_level: float = 0.1,
        samples: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if classes < 2 or not 1 <= steps <= timesteps or samples < 1:
            raise ConfigError(
                f"classes {classes}, steps {steps}, samples {samples}",
                expected=f"2 or more classes, 1 to {timesteps} steps, 1 or more samples",
            )
        if not 0 < round_level <= 0.6:
            most = "at most 0.6: above, too little of the scan is kept"
            raise ConfigError(f"round_level {round_level}", expected=f"more than 0, {most}")
        self.mask_network = mask_network
        self.image_network = image_network
        self.classes = classes
        self.steps = steps
        self.round_level = round_level
        self.samples = samples
        self.seed = seed
        self.schedule = DDIMScheduler(timesteps, "cosine", prediction_type="sample")

    @property
    def last(self) -> int:
        """Return the timestep of pure noise."""
        return int(self.schedule.num_train_timesteps) - 1

    def start(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw pure noise for a mask of every image, ``(B, classes, spatial...)``.

        It is drawn on the CPU, so that it is equal on every device.
        """
        noise = torch.randn((len(images), self.classes, *images.shape[2:]), generator=generator)
        return noise.to(images.device, images.dtype)

    def noised(self, clean: Tensor, timesteps: Tensor, noise: Tensor) -> Tensor:
        """Return ``q(clean, t)``, one timestep per sample."""
        noisy: Tensor = self.schedule.add_noise(clean, noise, timesteps)
        return noisy

    def mask_logits(self, noisy: Tensor, images: Tensor, timesteps: Tensor) -> Tensor:
        """Return logits of the clean mask, float32."""
        logits: Tensor = self.mask_network(torch.cat([noisy, images], 1), timesteps)
        return logits.float()

    def image_loss(
        self, images: Tensor, masks: Tensor, lowest: float = 0.0, left_out: Tensor | None = None
    ) -> Tensor:
        """Return ``mean (G(x_t, p, t) - v)^2`` at one random t per sample.

        t is at least the share ``lowest`` of the timesteps. Voxels of ``left_out`` (bool, ``(B, 1,
        spatial...)``) count as an error of 0.
        """
        noise = torch.randn_like(images)
        timesteps = self.random_timesteps(images, lowest)
        noisy = self.noised(images, timesteps, noise)
        velocity = self.image_network(torch.cat([noisy, masks.to(images.dtype)], 1), timesteps)
        target = self.schedule.get_velocity(images, noise, timesteps)
        found, target = velocity.float(), target.float()
        if left_out is not None:
            found = torch.where(left_out, target, found)
        return functional.mse_loss(found, target)

    def random_timesteps(self, images: Tensor, lowest: float = 0.0) -> Tensor:
        """Draw one timestep per image, uniform above the share ``lowest``."""
        first = int(lowest * self.last)
        return torch.randint(first, self.last + 1, (len(images),)).to(images.device)

    def training_start(
        self, fresh: Tensor, clean: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Draw noisy masks and timesteps for the training of M.

        As many masks are pure noise as when masks are sampled: one in ``steps``, on average.

        The others are noised masks; with one step there are none.

        Args:
            fresh: pure noise from :meth:`start`, ``(B, classes, spatial...)``.
            clean: returns the probabilities to be noised, of the same shape, for the timestep of
                pure noise, ``(B,)``; called only if there is more than one step.

        Returns:
            Noisy masks and their timesteps.
        """
        last = torch.full((len(fresh),), self.last, device=fresh.device)
        if self.steps == 1:
            return fresh, last
        masks = clean(last)
        later = torch.rand(len(masks)).to(masks.device) >= 1 / self.steps
        timesteps = torch.where(later, self.random_timesteps(masks), last)
        noised = self.noised(2 * masks - 1, timesteps, torch.randn_like(masks)).to(fresh.dtype)
        return torch.where(later.reshape(-1, *[1] * (masks.ndim - 1)), noised, fresh), timesteps

    def sample(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Sample class probabilities by ``steps`` DDIM steps from pure noise.

        The result is ``(B, classes, spatial...)``, float32.
        """
        stride = (self.last + 1) // self.steps
        # set_timesteps puts the last step at 0, but step() goes by strides: the noise level must
        # follow the strides.
        self.schedule.num_inference_steps = self.steps
        noisy = self.start(images, generator)
        for step in range(self.steps):
            timestep = self.last - step * stride
            timesteps = torch.full((len(images),), timestep, device=images.device)
            probabilities = torch.softmax(self.mask_logits(noisy, images, timesteps), 1)
            noisy, _ = self.schedule.step(2 * probabilities - 1, timestep, noisy.float())
            noisy = noisy.to(images.dtype)
        return probabilities

    def reconstruct(
        self, images: Tensor, masks: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Reconstruct the image with G from a mask and the image noised at ``round_level``.

        The result is clamped to the range of the image.
        """
        level = int(self.round_level * self.last)
        timesteps = torch.full((len(images),), level, device=images.device)
        noise = torch.randn(images.shape, generator=generator).to(images.device, images.dtype)
        noisy = self.noised(images, timesteps, noise)
        velocity = self.image_network(torch.cat([noisy, masks.to(images.dtype)], 1), timesteps)
        # The clean image is sqrt(a) x_t - sqrt(1 - a) v: the velocity's formula with other
        # arguments.
        clean: Tensor = self.schedule.get_velocity(velocity.to(images.dtype), noisy, timesteps)
        axes = tuple(range(1, images.ndim))
        return clean.clamp(images.amin(axes, keepdim=True), images.amax(axes, keepdim=True))

    @torch.no_grad()
    def rounds(
        self, images: Tensor, count: int, generator: torch.Generator | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Run chained rounds without gradient.

        ``p_0 = M(x)``; ``x_j = G(q(x), p_{j-1})``; ``p_j = M(x_j)``.

        Returns:
            ``p_0 ... p_count`` and ``x_1 ... x_count``.
        """
        masks = [self.sample(images, generator)]
        seen = []
        for _ in range(count):
            seen.append(self.reconstruct(images, masks[-1], generator))
            masks.append(self.sample(seen[-1], generator))
        return masks, seen

    def forward(self, images: Tensor) -> Tensor:
        """Return the log of the mean probability over ``samples`` masks, with the fixed seed."""
        generator = torch.Generator().manual_seed(self.seed)
        mean = sum(self.sample(images, generator) for _ in range(self.samples)) / self.samples
        return torch.log(torch.as_tensor(mean).clamp_min(1e-8))


def aggregated(masks: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the mean probability over rounds, and the mask of voxels where all rounds agree.

    The mask is ``(B, 1, spatial...)``, float.
    """
    decisions = torch.stack([mask.argmax(1, keepdim=True) for mask in masks])
    return torch.stack(masks).mean(0), (decisions == decisions[0]).all(0).float()


def changed_shares(masks: list[Tensor]) -> Tensor:
    """Return the share of voxels whose class each round changes, ``(rounds,)``.

    ``mean [argmax p_j != argmax p_(j-1)]``, for ``j = 1 ... R``.
    """
    decisions = torch.stack([mask.argmax(1) for mask in masks])
    return (decisions[1:] != decisions[:-1]).float().flatten(1).mean(1)


def rounds_as_text(shares: Sequence[float], least: float = 0.01) -> str:
    """Return what rounds change as a sentence, for logs.

    Args:
        shares: of :func:`changed_shares`.
        least: share below which a round is said to do next to nothing.
    """
    text = f"rounds change {', '.join(f'{share:.2%}' for share in shares)} of the pseudo-labels"
    idle = [str(number) for number, share in enumerate(shares, 1) if share < least]
    if not idle:
        return text
    return f"{text}; less than {least:.0%}, next to nothing, in round {', '.join(idle)}"
