"""The second schema: new views.

Views are made anew after every migration, so the new view `arrivals` needs no statement here.
"""

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change nothing that is stored."""
