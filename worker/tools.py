"""What a job works with: the configuration and the clients, made once a process and kept warm."""

from __future__ import annotations

from dataclasses import dataclass, field

from towline.shared.broker import Broker
from towline.shared.cluster import Cluster, connect
from towline.shared.config import Config, Environment, Repository
from towline.shared.ledger import Ledger
from towline.shared.metrics import Metrics
from towline.shared.queue import Queue
from towline.shared.records import Records
from towline.shared.views import Views
from towline.worker.addresses import Addresses
from towline.worker.mirror import Mirror
from towline.worker.render.programs import Programs


@dataclass(slots=True, kw_only=True)
class Tools:
    """Clients are made when first asked for, so that a worker starts while clusters and Git servers are away."""

    config: Config
    broker: Broker
    queue: Queue
    ledger: Ledger
    views: Views
    metrics: Metrics
    programs: Programs
    _mirrors: dict[str, Mirror] = field(default_factory=dict)
    _clusters: dict[str, Cluster] = field(default_factory=dict)
    _records: dict[str, Records] = field(default_factory=dict)
    _addresses: dict[str, Addresses] = field(default_factory=dict)
    prepared: set[str] = field(default_factory=set)  # cluster/namespace that can take Releases

    def mirror(self, repository: Repository) -> Mirror:
        """The mirror of a repository."""
        if repository.name not in self._mirrors:
            self._mirrors[repository.name] = Mirror(self.config.data_dir / "mirrors", repository)
        return self._mirrors[repository.name]

    def cluster(self, environment: Environment) -> Cluster:
        """The API server of an environment, as ourselves."""
        name = environment.cluster
        if name not in self._clusters:
            self._clusters[name] = connect(
                self.config.clusters[name],
                parallel=self.config.sync.requests_parallel,
                observe=self.metrics.observe_request,
            )
        return self._clusters[name]

    def records(self, environment: Environment) -> Records:
        """The Releases of an environment's cluster."""
        name = environment.cluster
        if name not in self._records:
            self._records[name] = Records(self.cluster(environment), history=self.config.sync.history)
        return self._records[name]

    def addresses(self, environment: Environment) -> Addresses:
        """Who gives addresses in an environment's cluster."""
        name = environment.cluster
        if name not in self._addresses:
            self._addresses[name] = Addresses(self.cluster(environment))
        return self._addresses[name]
