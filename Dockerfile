# kustomize at the version that the tests use, built from its pinned modules.
FROM golang:1.26 AS programs
WORKDIR /build
COPY tests/programs/kustomize/ .
RUN CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "-s -w" -o /kustomize sigs.k8s.io/kustomize/kustomize/v5

FROM python:3.12-slim AS wheel
WORKDIR /build
COPY . .
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /wheel

FROM python:3.12-slim
COPY requirements.lock /tmp/requirements.lock
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/requirements.lock && rm /tmp/requirements.lock
COPY --from=wheel /wheel/*.whl /tmp/
RUN pip install --no-cache-dir --no-deps /tmp/*.whl && rm /tmp/*.whl
COPY --from=programs /kustomize /usr/local/bin/kustomize
USER 10001:10001
ENTRYPOINT ["towline"]
