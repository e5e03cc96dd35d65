"""Neural network modules: blocks, encoder, input features and heads."""

from s5forecast.nn.block import ACTIVATIONS, Block
from s5forecast.nn.encoder import Encoder
from s5forecast.nn.features import CategoryEmbedding, FeatureInputs, Standardization, StepCategories
from s5forecast.nn.gaps import MISSING
from s5forecast.nn.gaussianization import Gaussianization
from s5forecast.nn.heads import JointHead, OutputHead, SeasonalSkip
from s5forecast.nn.linear_path import LinearPath
from s5forecast.nn.patching import Patching
from s5forecast.nn.recent_mean import Recent, RecentMean

__all__ = [
    "ACTIVATIONS",
    "MISSING",
    "Block",
    "CategoryEmbedding",
    "Encoder",
    "FeatureInputs",
    "Gaussianization",
    "JointHead",
    "LinearPath",
    "OutputHead",
    "Patching",
    "Recent",
    "RecentMean",
    "SeasonalSkip",
    "Standardization",
    "StepCategories",
]
