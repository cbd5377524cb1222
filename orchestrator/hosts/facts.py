"""What is known of each platform; docs/platforms.md says the same with the sources of every statement."""

from __future__ import annotations

from typing import Final

from orchestrator.hosts.platform import NO, UNKNOWN, YES, Docker, Facts, Folder

KAGGLE: Final = Facts(
    "kaggle",
    "Kaggle notebook",
    bases=("/kaggle/working",),
    folders=(
        Folder("/kaggle/working", YES, "with a saved version, or with Persistence on", NO, "20 GB"),
        Folder("/kaggle/temp", YES, NO, NO, note="any folder outside of `/kaggle/working` is like this"),
        Folder("/kaggle/input", YES, YES, YES, note="read only: data sets that were added to the notebook"),
    ),
    docker=Docker(NO, "the notebook is a container without rights to start others"),
    way="none: nothing outside reaches a notebook, so a tunnel from inside is needed, with Internet switched on",
    session="12 hours, 9 with a TPU (third party); the editor shows what counts for you",
    idle="ends after 20 to 60 minutes without use (third party)",
    stopping="only in the browser: `Stop session`, or the power button of the editor",
    policies=("a tunnel needs the notebook's Internet switch, which needs an account with a verified phone",),
    sources=("https://github.com/Kaggle/docker-python",),
)
COLAB: Final = Facts(
    "colab",
    "Google Colab",
    bases=("/content",),
    folders=(
        Folder("/content", YES, NO, NO, note="lost with the runtime"),
        Folder("/content/drive/MyDrive", YES, YES, YES, "the quota of the Google account",
               "only when Drive is mounted; no links, slow with many small files"),
    ),
    docker=Docker(NO, "the runtime is a container without rights to start others"),
    way="a frame in the notebook's output; Colab forwards it to a port of the runtime, for the notebook's user only",
    session="12 hours at most without a subscription, varying with use",
    idle="ends when left idle, after a time that varies and is not published",
    stopping="`google.colab.runtime.unassign()` in a cell, or Runtime > Disconnect and delete runtime",
    tunnels="only with paid compute units",
    policies=(
        "without paid compute units, remote control and working mainly in a web interface are forbidden: use the frame",
        "runtimes that break this may be ended without warning",
        "file hosting and web services that have nothing to do with interactive computing are forbidden for everybody",
        "pinoctl does nothing to keep an idle runtime alive",
    ),
    sources=("https://research.google.com/colaboratory/faq.html", "https://github.com/googlecolab/colabtools"),
)  # fmt: skip
RUNPOD: Final = Facts(
    "runpod",
    "RunPod pod",
    bases=("/workspace",),
    folders=(
        Folder("/workspace", YES, YES, "only where it is a network volume", "the size that was chosen",
               "a network volume outlives the pod; a volume disk goes with it"),
        Folder("/", NO, NO, NO, "the size that was chosen", "the container disk"),
    ),
    docker=Docker(NO, "RunPod runs the pod's container; no Docker daemon and no Docker Compose inside of it"),
    way="https://{RUNPOD_POD_ID}-{port}.proxy.runpod.net, for ports that the pod declares as HTTP",
    session="none, as long as there is credit",
    idle="none",
    stopping="POST https://rest.runpod.io/v1/pods/{RUNPOD_POD_ID}/stop with RUNPOD_API_KEY, or "
    "`runpodctl pod stop $RUNPOD_POD_ID`; the volume disk goes on costing",
    policies=("the proxy ends requests that have no answer after 100 seconds (524)",
              "the URL is public for whoever knows it"),
    sources=("https://docs.runpod.io/pods/configuration/expose-ports", "https://docs.runpod.io/pods/storage/types",
             "https://docs.runpod.io/pods/manage-pods", "https://docs.runpod.io/pods/overview"),
)  # fmt: skip
VAST: Final = Facts(
    "vast",
    "Vast.ai instance",
    bases=("/workspace",),
    folders=(
        Folder("/", YES, YES, NO, "fixed when the instance is made", "costs while the instance is stopped, too"),
        Folder("/workspace", YES, YES, NO, "part of the same disk",
               "WORKSPACE names another; a volume mounted there outlives the instance"),
    ),
    docker=Docker(NO, "Docker in Docker is not supported; a virtual machine of Vast.ai can"),
    way="http://{PUBLIC_IPADDR}:{VAST_TCP_PORT_n}, for ports that were opened with `-p` or EXPOSE at creation",
    session="until the end of the rental contract, and as long as there is credit",
    idle="none",
    stopping="PUT https://console.vast.ai/api/v0/instances/{CONTAINER_ID}/ with CONTAINER_API_KEY, or "
    "`vastai stop instance $CONTAINER_ID`; the disk goes on costing, and the GPU may be gone later",
    policies=("the address is shared and may change, which PUBLIC_IPADDR does not show",
              "without a certificate, whoever is on the way reads along"),
    sources=("https://docs.vast.ai/guides/instances/docker-environment",
             "https://docs.vast.ai/guides/instances/connect/networking",
             "https://docs.vast.ai/guides/instances/storage/types",
             "https://docs.vast.ai/api-reference/instances/manage-instance"),
)  # fmt: skip
LIGHTNING: Final = Facts(
    "lightning",
    "Lightning AI studio",
    bases=("/teamspace/studios/this_studio",),
    folders=(Folder("/teamspace/studios/this_studio", YES, YES, NO, UNKNOWN),),
    docker=Docker("maybe", "some studios have a Docker daemon; pinoctl uses it where it answers"),
    way="https://{port}-{LIGHTNING_CLOUDSPACE_HOST}, where that variable is set",
    session="a free studio restarts every 4 hours (third party)",
    idle="sleeps after the studio's own idle time, `Studio().auto_sleep_time` in seconds, while `auto_sleep` is on",
    stopping="`Studio().stop()` of the package lightning-sdk, which studios have",
    sources=("https://lightning.ai/docs/sdk/stable/examples/studios", "https://pypi.org/project/lightning-sdk/"),
)
PAPERSPACE: Final = Facts(
    "paperspace",
    "Paperspace notebook",
    bases=("/storage",),
    folders=(
        Folder("/storage", YES, YES, YES, "5 GB without a subscription", "shared by everybody in the team"),
        Folder("/notebooks", YES, YES, NO, UNKNOWN),
    ),
    docker=Docker(NO, "the notebook is a container without rights to start others"),
    way="https://tensorboard-{PAPERSPACE_FQDN}, which reaches port 6006 and no other",
    session="free machines stop after 6 hours; others at the time that was chosen when they were started",
    idle=UNKNOWN,
    stopping="only in the console: Stop machine",
    sources=("https://github.com/Paperspace/Docs", "https://docs.paperspace.com/gradient/get-started/core-concepts"),
)
STUDIO_LAB: Final = Facts(
    "studiolab",
    "SageMaker Studio Lab",
    bases=(),
    folders=(
        Folder("/home/studio-lab-user", YES, YES, "with the account", "15 GB"),
        Folder("/tmp", YES, NO, NO),  # noqa: S108  # a folder of that platform, not a file that we make
    ),
    docker=Docker(NO, "the project runs without rights to start containers"),
    way="https://{domain}.studio.{region}.sagemaker.aws/studiolab/default/jupyter/proxy/{port}/, behind your login; "
    "most apps break below such a prefix, so a tunnel is better",
    session="12 hours with a CPU, 4 hours with a GPU",
    idle=UNKNOWN,
    stopping="only on the project's page: Stop runtime",
    sources=("https://github.com/aws/studio-lab-examples/issues/192", "https://github.com/aws/studio-lab-examples"),
)
LAMBDA: Final = Facts(
    "lambda",
    "Lambda instance",
    bases=(),
    folders=(
        Folder("/lambda/nfs", YES, "there is no stop", YES, note="one folder per attached filesystem, shared, slow"),
        Folder("/", YES, "there is no stop", NO),
    ),
    docker=Docker(YES, "a virtual machine of your own, with Docker in Lambda's images"),
    way="none of its own; the machine has a public address and a firewall",
    session="none",
    idle="none",
    stopping="never done by pinoctl: the only end is to terminate, which deletes the disk",
    sources=("https://docs.lambda.ai/public-cloud/on-demand/creating-managing-instances/",),
)
KUBERNETES: Final = Facts(
    "kubernetes",
    "Kubernetes pod",
    bases=(),
    folders=(Folder("/", NO, NO, NO, note="only mounted volumes last longer than the container"),),
    docker=Docker("maybe", "only where the pod was given a Docker socket"),
    way="none from inside: a Service or an Ingress to the gate's port; PINOCTL_PUBLIC_URL says where it is",
    session="none",
    idle="none",
    stopping="never done by pinoctl: the pod would be started again",
    sources=("https://kubernetes.io/docs/concepts/services-networking/service/",
             "https://kubernetes.io/docs/concepts/storage/volumes/"),
)  # fmt: skip
CONTAINER: Final = Facts(
    "container",
    "Docker or Podman container",
    bases=(),
    folders=(Folder("/", YES, YES, NO, note="only mounted volumes outlive the container"),),
    docker=Docker("maybe", "only where the container was given a Docker socket"),
    way="none from inside: publish the gate's port (`docker run -p`); PINOCTL_PUBLIC_URL says where it is",
    session="none",
    idle="none",
    stopping="never done by pinoctl: what runs outside of the container is not known",
    sources=("https://docs.docker.com/engine/storage/",),
)
LOCAL: Final = Facts(
    "local",
    "a machine of your own",
    bases=(),
    folders=(Folder("/", YES, YES, YES),),
    docker=Docker(YES, "where Docker is installed and you may use it"),
    way="none of its own: a tunnel, or a proxy of yours named by PINOCTL_PUBLIC_URL",
    session="none",
    idle="none",
    stopping="never done by pinoctl: it stops apps, not your machine",
)
# In this order: Kaggle's images are built on Colab's; all that is rented is a container, too.
PLATFORMS: Final = {
    each.name: each
    for each in (
        KAGGLE,
        COLAB,
        VAST,
        RUNPOD,
        LIGHTNING,
        PAPERSPACE,
        STUDIO_LAB,
        LAMBDA,
        KUBERNETES,
        CONTAINER,
        LOCAL,
    )
}
