# The public names with their types. __init__.py imports them on first use.

from chatload.chat.customer import ChatCustomer as ChatCustomer
from chatload.chat.customer import FetchAnswer as FetchAnswer
from chatload.chat.customer import FetchError as FetchError
from chatload.chat.feeder import Feeder as Feeder
from chatload.chat.policy import RefreshPolicy as RefreshPolicy
from chatload.chat.script import CustomerScript as CustomerScript
from chatload.chat.script import Distribution as Distribution
from chatload.chat.settings import SessionSettings as SessionSettings
from chatload.errors import ChatloadError as ChatloadError
from chatload.features.capacity.load import CapacityShape as CapacityShape
from chatload.protocol.reply import Event as Event
from chatload.run.reader import RunReader as RunReader
from chatload.simulator.command import Simulator as Simulator
from chatload.simulator.model.config import SimulatorConfig as SimulatorConfig
from chatload.simulator.model.faults import Fault as Fault
from chatload.simulator.model.faults import FaultPlan as FaultPlan
from chatload.simulator.model.service import ChatService as ChatService
from chatload.swarm.user import ArrivalUser as ArrivalUser
from chatload.swarm.user import ChatUser as ChatUser
from chatload.swarm.user import SoakUser as SoakUser
from chatload.swarm.user import SweepUser as SweepUser
from chatload.virtual.driver import VirtualSwarm as VirtualSwarm
from chatload.virtual.network import NetworkModel as NetworkModel
from chatload.virtual.network import Stalls as Stalls

__version__: str
