"""Checks that the parts of a kustomize base fit together: usage: manifests.py DIRECTORY.

Schemas know nothing of this: a file that is not listed is never applied, a mount of a volume that is not there keeps a
pod from starting, and settings that are not JSON keep podwire from doing so.
"""

import json
import pathlib
import sys

import yaml


def main(base):
    kustomization = yaml.safe_load((base / "kustomization.yaml").read_text())
    listed = set(kustomization["resources"])
    present = {path.name for path in base.glob("*.yaml")} - {"kustomization.yaml"}
    yield from (f"{name}: listed or present, not both" for name in sorted(listed ^ present))

    configured = {}
    for generator in kustomization["configMapGenerator"]:
        configured[generator["name"]] = generator["files"]
        for name in generator["files"]:
            json.loads((base / name).read_text())

    objects = [o for name in sorted(listed & present) for o in yaml.safe_load_all((base / name).read_text())]
    accounts = {o["metadata"]["name"] for o in objects if o["kind"] == "ServiceAccount"}
    images = {image["name"] for image in kustomization["images"]}
    for pod in (o["spec"]["template"]["spec"] for o in objects if o["kind"] == "DaemonSet"):
        if pod["serviceAccountName"] not in accounts:
            yield f"no ServiceAccount {pod['serviceAccountName']}"
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for volume in volumes.values():
            if "configMap" in volume and volume["configMap"]["name"] not in configured:
                yield f"no ConfigMap {volume['configMap']['name']}"
        mounted = set()
        for container in pod["initContainers"] + pod["containers"]:
            if container["image"] not in images:
                yield f"no image {container['image']}"
            mounted |= {mount["name"] for mount in container["volumeMounts"]}
        yield from (f"volume {name}: mounted or there, not both" for name in sorted(mounted ^ volumes.keys()))


problems = list(main(pathlib.Path(sys.argv[1])))
for problem in problems:
    print(f"{sys.argv[1]}: {problem}", file=sys.stderr)
sys.exit(bool(problems))
