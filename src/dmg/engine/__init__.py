"""The process engine: declare a model, run it over time, differentiate through it."""

from dmg.engine.budget import Budget, account
from dmg.engine.declare import Attribute, Flux, Forcing, Ledger, Parameter, State
from dmg.engine.inner_network import InnerNetwork
from dmg.engine.parameters import ParameterLayout, RawParameters
from dmg.engine.process_model import ProcessModel
from dmg.engine.router import Router
from dmg.engine.simulate import Simulation, simulate
from dmg.engine.state import ModelState

__all__ = [
    "Attribute",
    "Budget",
    "Flux",
    "Forcing",
    "InnerNetwork",
    "Ledger",
    "ModelState",
    "Parameter",
    "ParameterLayout",
    "ProcessModel",
    "RawParameters",
    "Router",
    "Simulation",
    "State",
    "account",
    "simulate",
]
