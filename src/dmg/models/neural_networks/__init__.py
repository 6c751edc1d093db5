"""Networks that supply what a process model does not know.

Importing this package registers them in ``dmg.registry.networks``.
"""

from dmg.models.neural_networks.ann import AnnModel
from dmg.models.neural_networks.ann_close import AnnCloseModel
from dmg.models.neural_networks.base import BaseNetwork
from dmg.models.neural_networks.gru import GruModel
from dmg.models.neural_networks.load import load_nn_model
from dmg.models.neural_networks.lstm import CudnnLstmModel, LstmModel
from dmg.models.neural_networks.lstm_mlp import LstmMlpModel
from dmg.models.neural_networks.lstm_mlp2 import LstmMlp2Model
from dmg.models.neural_networks.min_gru import MinGruModel
from dmg.models.neural_networks.mlp import MlpModel
from dmg.models.neural_networks.parameter_networks import ParameterNetworks
from dmg.models.neural_networks.site_parameters import SiteParameters
from dmg.models.neural_networks.stack_lstm_mlp import StackLstmMlpModel

__all__ = [
    "AnnCloseModel",
    "AnnModel",
    "BaseNetwork",
    "CudnnLstmModel",
    "GruModel",
    "LstmMlp2Model",
    "LstmMlpModel",
    "LstmModel",
    "MinGruModel",
    "MlpModel",
    "ParameterNetworks",
    "SiteParameters",
    "StackLstmMlpModel",
    "load_nn_model",
]
