# docker build -t vsr . && docker run --rm -v "$PWD/runs:/vsr/runs" vsr train.py model=fsrcnn data=climate
# For GPUs: --build-arg TORCH=torch, which brings CUDA with it, and docker run --gpus all --shm-size 2g.
FROM python:3.11-slim

RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /vsr
COPY pyproject.toml constraints.txt README.md ./
# Torch first and alone: a layer of its own, which changes with its version only.
ARG TORCH
RUN pip install --no-cache-dir "${TORCH:-$(grep '^torch==' constraints.txt)}"
COPY vsr vsr
RUN pip install --no-cache-dir -c constraints.txt -e '.[all]'
COPY . .
# Generated data are kept with the runs.
ENV VSR_CACHE=/vsr/runs/cache
ENTRYPOINT ["python"]
CMD ["train.py", "--help"]
