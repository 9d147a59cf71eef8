"""One trainer for each method: a module here, and its line below."""

from monai_semiseg.engines.cached_cotraining import (
    CachedDiffusionCoTrainer as CachedDiffusionCoTrainer,
)
from monai_semiseg.engines.contrastive import ContrastTrainer as ContrastTrainer
from monai_semiseg.engines.contrastive import SupervisedContrastTrainer as SupervisedContrastTrainer
from monai_semiseg.engines.copy_paste import (
    BidirectionalCopyPasteTrainer as BidirectionalCopyPasteTrainer,
)
from monai_semiseg.engines.cross_consistency import (
    CrossConsistencyTrainer as CrossConsistencyTrainer,
)
from monai_semiseg.engines.cross_pseudo_supervision import (
    CrossPseudoSupervisionTrainer as CrossPseudoSupervisionTrainer,
)
from monai_semiseg.engines.denoising import DenoisingTrainer as DenoisingTrainer
from monai_semiseg.engines.diffusion_cotraining import DiffusionCoTrainer as DiffusionCoTrainer
from monai_semiseg.engines.diffusion_pretraining import DiffusionPretrainer as DiffusionPretrainer
from monai_semiseg.engines.dual_task_consistency import (
    DualTaskConsistencyTrainer as DualTaskConsistencyTrainer,
)
from monai_semiseg.engines.entropy_minimisation import (
    EntropyMinimisationTrainer as EntropyMinimisationTrainer,
)
from monai_semiseg.engines.hebbian import HebbianTrainer as HebbianTrainer
from monai_semiseg.engines.label_propagation import (
    LabelPropagationTrainer as LabelPropagationTrainer,
)
from monai_semiseg.engines.mean_teacher import MeanTeacherTrainer as MeanTeacherTrainer
from monai_semiseg.engines.mean_teacher import UncertaintyAwareTrainer as UncertaintyAwareTrainer
from monai_semiseg.engines.pyramid_consistency import (
    PyramidConsistencyTrainer as PyramidConsistencyTrainer,
)
from monai_semiseg.engines.semisupervised import SemiSupervisedTrainer as SemiSupervisedTrainer
from monai_semiseg.engines.weak_to_strong import WeakToStrongTrainer as WeakToStrongTrainer
