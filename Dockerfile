# docker build -t vsr . && docker run --rm -v "$PWD/runs:/vsr/runs" vsr train.py model=fsrcnn data=climate
# For GPUs: docker build --build-arg TORCH=torch (this torch includes CUDA), and docker run --gpus all --shm-size 2g.
FROM python:3.11-slim

RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /vsr
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
# Torch is installed first, in a layer of its own that is rebuilt only when the version of torch changes.
ARG TORCH
RUN pip install --no-cache-dir "${TORCH:-$(grep '^torch==' constraints.txt)}"
COPY conf conf
COPY vsr vsr
RUN pip install --no-cache-dir -c constraints.txt -e '.[all]'
COPY . .
# Store generated data beside the runs, in the mounted folder.
ENV VSR_CACHE=/vsr/runs/cache
ENTRYPOINT ["python"]
CMD ["train.py", "--help"]
