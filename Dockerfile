# syntax=docker/dockerfile:1
# The images of a deployment, `server` (with its front) and `client`: one environment in both.
#
#   docker build --target server --tag fedsafe-server .
#   docker build --target client --tag fedsafe-client .
#
# For CUDA: --build-arg TORCH_INDEX=https://pypi.org/simple. Torch's builds there bring the CUDA
# libraries along, so that the host's driver is all they need and the base stays the same.
# By version and digest (of all architectures), so that two builds start from the same bytes.
ARG PYTHON=3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

FROM python:${PYTHON} AS environment
ARG TORCH_VERSION=2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/fedsafe
ENV PATH=/opt/fedsafe/bin:${PATH}
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --index-url "${TORCH_INDEX}" "torch==${TORCH_VERSION}"
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
# What it depends on first: a change of its code then installs nothing else again.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
      > /requirements.txt \
    && pip install --requirement /requirements.txt
COPY fedsafe fedsafe
COPY clients clients
COPY server server
COPY strategies strategies
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --wheel-dir /wheels . \
    && pip install --no-deps /wheels/*.whl

FROM python:${PYTHON} AS runtime
RUN groupadd --gid 10001 fedsafe \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp fedsafe \
    # A new volume takes owner and mode of the directory that it is mounted on.
    && install --directory --owner=10001 --group=10001 --mode=0700 \
      /authority /handout /handout/server /handout/node0 /handout/node1 /handout/node2 \
      /handout/node3 /etc/fedsafe /runs /state \
      /data /experiments /models
COPY --from=environment /opt/fedsafe /opt/fedsafe
# The root file system is read-only in docker-compose.yml: what can be made again lies in /tmp.
# The tokenizers of TOKENIZERS_PARALLELISM are no secret.
# hadolint ignore=DL3064
ENV PATH=/opt/fedsafe/bin:${PATH} \
    FEDSAFE_CACHE=/tmp/fedsafe \
    FEDSAFE_HOME=/runs \
    FLWR_DISABLE_UPDATE_CHECK=1 \
    FLWR_TELEMETRY_ENABLED=0 \
    HF_HOME=/tmp/huggingface \
    HF_HUB_DISABLE_TELEMETRY=1 \
    OMP_NUM_THREADS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TOKENIZERS_PARALLELISM=false
WORKDIR /runs
USER 10001:10001
ENTRYPOINT ["fedsafe"]
CMD ["--help"]

FROM runtime AS client

FROM runtime AS server
USER 0
# The distribution's security fixes rather than one version of it.
# hadolint ignore=DL3008
RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get update \
    && apt-get install --yes --no-install-recommends nginx-light \
    && rm -rf /var/lib/apt/lists/*
USER 10001:10001
EXPOSE 8443
