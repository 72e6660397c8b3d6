"""Which rules belong to which forge."""

from __future__ import annotations

from collections.abc import Mapping

from towline.receiver.forges.bitbucket import BitbucketCloud, BitbucketServer
from towline.receiver.forges.forge import ForgeRules
from towline.receiver.forges.gitea import Gitea
from towline.receiver.forges.github import GitHub
from towline.receiver.forges.gitlab import GitLab
from towline.shared.model import Forge

RULES: Mapping[Forge, ForgeRules] = {
    Forge.GITHUB: GitHub(),
    Forge.GITLAB: GitLab(),
    Forge.GITEA: Gitea(name="Gitea"),
    Forge.FORGEJO: Gitea(name="Forgejo"),
    Forge.GOGS: Gitea(name="Gogs"),
    Forge.BITBUCKET: BitbucketCloud(),
    Forge.BITBUCKET_SERVER: BitbucketServer(),
}
