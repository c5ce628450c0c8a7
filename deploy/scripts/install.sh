#!/usr/bin/env bash
# Installs a bundle on a Jetson, or any Linux with Python 3.10 to 3.13. It comes inside the bundle:
#   tar -xOf C6.bundle install.sh | bash -s -- C6.bundle
#
# Each bundle gets a folder and an environment of its own, which sees the system's packages (TensorRT, OpenCV); `current`
# is switched to it only when everything works, so that a failed run leaves what was there. Not run on a Jetson yet.
set -euo pipefail

usage() {
    cat <<END
Usage: install.sh BUNDLE [--sha256 HASH] [--key PUB] [--prefix DIR] [--packages] [--service] [--dry-run]
       install.sh --uninstall [--prefix DIR] [--dry-run]

  --sha256 HASH  what lc2fer-deploy bundle printed; another file is refused
  --key PUB      a public Ed25519 key in PEM; a bundle that its owner did not sign is refused (needs openssl)
  --prefix DIR   where to (default: /opt/lc2fer for root, else ~/.local/share/lc2fer)
  --packages     first the system's packages: venv, OpenCV where there is none; needs root
  --service      also a systemd service with a user of its own; needs root
  --uninstall    remove what this script made, and nothing else
  --dry-run      say what would be done
PYTHON=python3.12 chooses an interpreter; pip's own variables (PIP_INDEX_URL, PIP_FIND_LINKS, ...) hold.
END
}

die() { # CODE TEXT
    echo "$2" >&2
    exit "$1"
}

PYTHON=${PYTHON:-python3}
SYSTEM=${LC2FER_SYSTEM:-/} # where etc/ lies
bundle='' expected='' key='' prefix='' service=no packages=no remove=no dry=no
while (($#)); do
    case $1 in
    --sha256 | --key | --prefix)
        (($# > 1)) || die 2 "$1 came without its value. See: install.sh --help"
        case $1 in
        --prefix) prefix=$2 ;;
        --key) key=$2 ;;
        *) expected=$2 ;;
        esac
        shift
        ;;
    --packages) packages=yes ;;
    --service) service=yes ;;
    --uninstall) remove=yes ;;
    --dry-run) dry=yes ;;
    --help | -h)
        usage
        exit
        ;;
    -*) die 2 "There is no option $1. See: install.sh --help" ;;
    *) bundle=$1 ;;
    esac
    shift
done
root=no
[[ $(id -u) -ne 0 ]] || root=yes
if [[ -z $prefix ]]; then
    [[ $root == yes || -n ${XDG_DATA_HOME:-${HOME:-}} ]] ||
        die 2 "This user has no home folder. A place for the installation was expected. Name one: --prefix DIR"
    if [[ $root == yes ]]; then prefix=/opt/lc2fer; else prefix=${XDG_DATA_HOME:-$HOME/.local/share}/lc2fer; fi
fi
[[ $prefix == /* ]] || prefix=$PWD/$prefix # links and the service name it from everywhere
unit=$SYSTEM/etc/systemd/system/lc2fer.service
options=$SYSTEM/etc/lc2fer.env

may_change_the_system() {
    [[ $root == yes || $SYSTEM != / ]] || die 2 "This user may not change the system. Root was expected. Run it with sudo."
}

uninstall() {
    local there=()
    for path in "$prefix/versions" "$prefix/current" "$prefix/bin/lc2fer-deploy"; do
        if [[ -e $path || -L $path ]]; then there+=("$path"); fi
    done
    if [[ -e $unit ]] && grep -qF "${prefix//%/%%}/bin/lc2fer-deploy" "$unit"; then
        may_change_the_system
        there+=("$unit" "$options")
    fi
    ((${#there[@]})) || die 1 "There is nothing of LC2FER in $prefix. An installation was expected. Name it: --prefix DIR"
    printf '%s\n' "To be removed:" "${there[@]}"
    [[ $dry == no ]] || return 0
    if [[ " ${there[*]} " == *" $unit "* ]]; then systemctl disable --now lc2fer.service || true; fi
    rm -rf -- "${there[@]}"
    rmdir -- "$prefix/bin" "$prefix" 2>/dev/null || true # other things may lie there
    echo "Removed. The user lc2fer, if there is one, was left: userdel lc2fer"
}

member_hash() { # NAME: its sha256 in bundle.json
    "$PYTHON" -c 'import json, sys
files = json.load(open(sys.argv[1]))["files"]
print(next(file["sha256"] for file in files if file["name"] == sys.argv[2]))' "$work/bundle.json" "$1"
}

take_out() { # NAME: a member of the bundle into $work, checked
    tar -xOf - "$1" <"$bundle" >"$work/$1" || die 2 "$bundle has no $1. A bundle of lc2fer-deploy was expected. Copy it again."
    [[ $1 == bundle.json || $(sha256sum <"$work/$1") == "$(member_hash "$1")  -" ]] ||
        die 2 "$1 in $bundle is not what bundle.json describes. Equal hashes were expected. Copy the bundle again."
}

check_signature() { # before anything of the bundle is used; bundle.json names the rest by its sha256
    [[ -f $key ]] || die 2 "$key is missing. A public key in PEM was expected. Check --key."
    command -v openssl >/dev/null || die 3 "There is no openssl, which checks signatures. Run: sudo apt-get install openssl"
    local signed
    signed=$(mktemp -d)
    { tar -xOf - bundle.json <"$bundle" >"$signed/json" && tar -xOf - bundle.sig <"$bundle" >"$signed/sig"; } 2>/dev/null ||
        { rm -rf -- "$signed" && die 2 "$bundle is not signed. A signature of the owner of $key was expected. Ask who made it for one."; }
    openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$signed/json" -sigfile "$signed/sig" >/dev/null 2>&1 ||
        { rm -rf -- "$signed" && die 2 "$bundle was not signed by the owner of $key, or was changed since. Their signature was expected. Do not use it."; }
    checked=$(sha256sum <"$signed/json")
    rm -rf -- "$signed"
}

install_packages() {
    may_change_the_system
    local wanted=(python3-venv)
    "$PYTHON" -c 'import cv2' 2>/dev/null || wanted+=(python3-opencv) # JetPack's own is left as it is
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${wanted[@]}"
}

check_service() { # a unit can name any other path
    [[ $prefix != *[$'"\'\\$`\n\t']* ]] ||
        die 2 "$prefix cannot stand in a service. A path without quotes, \\, \$ and control characters was expected. Choose another --prefix."
}

install_service() {
    may_change_the_system
    take_out lc2fer.service
    mkdir -p "$(dirname "$unit")"
    id lc2fer >/dev/null 2>&1 || useradd --system --home-dir "$prefix" --shell /usr/sbin/nologin --groups video lc2fer
    local text made=''
    text=$(<"$work/lc2fer.service")
    while [[ $text == *'"/opt/lc2fer/'* ]]; do # piece by piece: & and | mean nothing here; % begins what systemd replaces
        made+="${text%%'"/opt/lc2fer/'*}\"${prefix//%/%%}/"
        text=${text#*'"/opt/lc2fer/'}
    done
    printf '%s\n' "$made$text" >"$unit.new"
    mv "$unit.new" "$unit"
    if [[ ! -e $options ]]; then
        (umask 077 && echo 'LC2FER_OPTIONS=--source usb:0 --web' >"$options") # a token may stand there
    fi
    systemctl daemon-reload
    systemctl enable lc2fer.service
    echo "The service is set up. Its options: $options. Build the engines, then: systemctl restart lc2fer"
}

if [[ $remove == yes ]]; then
    uninstall
    exit
fi
[[ -n $bundle ]] || die 2 "No bundle was named. One was expected. See: install.sh --help"
[[ -f $bundle ]] || die 2 "$bundle is missing. A bundle of lc2fer-deploy was expected. Copy it here."
found=$(sha256sum <"$bundle" | cut -d' ' -f1)
[[ -z $expected || $found == "$expected" ]] ||
    die 2 "$bundle has the sha256 $found. $expected was expected. Copy the bundle again."
checked=''
[[ -z $key ]] || check_signature
[[ $service == no ]] || check_service
if [[ $packages == yes && $dry == no ]]; then install_packages; fi
"$PYTHON" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null ||
    die 3 "$PYTHON is missing, has no venv, or is not 3.10 to 3.13. Run: sudo apt-get install python3-venv"
home=$prefix/versions/${found:0:16}
if [[ $dry == yes ]]; then
    printf '%s\n' "Environment and models: $home" "Command: $prefix/bin/lc2fer-deploy"
    [[ $service == no ]] || echo "Service: $unit, user lc2fer, options $options"
    exit
fi

mkdir -p "$prefix/versions" "$prefix/bin"
exec {lock}<"$prefix/versions"
flock --nonblock "$lock" || die 2 "Another install.sh works in $prefix. One at a time was expected. Wait for it."
rm -rf -- "$prefix"/versions/.installing-* # of one that was killed
work=$(mktemp -d "$prefix/versions/.installing-XXXXXX")
trap 'rm -rf -- "$work"' EXIT
take_out bundle.json
[[ -z $checked || $(sha256sum <"$work/bundle.json") == "$checked" ]] ||
    die 2 "$bundle changed while it was installed. The one that was checked was expected. Start again."
if [[ -e $home/complete ]]; then
    echo "$bundle is installed in $home already."
else
    wheels=$(tar -tf - <"$bundle" | grep -Ex 'lc2fer-[0-9A-Za-z.]+-py3-none-[0-9A-Za-z_]+\.whl' || true)
    [[ $(grep -cx '.*-any\.whl' <<<"$wheels") -eq 1 ]] || die 2 "$bundle holds no single wheel of lc2fer. One was expected. Copy it again."
    for wheel in $wheels; do take_out "$wheel"; done
    take_out requirements.txt
    rm -rf -- "$home"
    "$PYTHON" -m venv --system-site-packages "$home/venv"
    pip=("$home/venv/bin/python" -m pip --quiet --disable-pip-version-check)
    # pip knows which wheel is the best here: that of this kind of machine brings the kernels compiled.
    version=${wheels#lc2fer-}
    env -u PIP_FIND_LINKS "${pip[@]}" download --no-deps --no-index --find-links "$work" --dest "$work/best" "lc2fer==${version%%-*}"
    "${pip[@]}" install --require-hashes -r "$work/requirements.txt"
    "${pip[@]}" install --no-deps "$work/best"/*.whl
    "$home/venv/bin/lc2fer-deploy" unpack "$bundle" --to "$home/model" >/dev/null
    [[ -z $key ]] || cmp -s "$work/bundle.json" "$home/model/bundle.json" ||
        die 2 "$bundle changed while it was installed. The one that was checked was expected. Start again."
fi
"$home/venv/bin/lc2fer-deploy" doctor || echo "doctor found problems: see above. They are no reason to stop here."
"$home/venv/bin/lc2fer-deploy" verify "$home/model" ||
    die 1 "The models do not answer here as the trained network does; what was installed before was left. Report the lines above."
touch "$home/complete"
ln -sfn "$home" "$work/current"
mv -T "$work/current" "$prefix/current"
ln -sfn "$prefix/current/venv/bin/lc2fer-deploy" "$prefix/bin/lc2fer-deploy"
for other in "$prefix"/versions/*; do
    [[ $other == "$home" ]] || rm -rf -- "$other"
done
[[ $service == no ]] || install_service
build="$prefix/bin/lc2fer-deploy build $prefix/current/model --engine onnxruntime"
[[ ! -e $SYSTEM/etc/nv_tegra_release ]] || build="bash $prefix/current/model/build-engines.sh" # with a Jetson at its fastest
echo "Installed. Build the engines with: $build"
