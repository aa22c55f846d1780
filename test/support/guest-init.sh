#!/bin/busybox sh
# First process of a test guest: mounts what Linux needs, loads the modules, starts udev, the initiator and the
# multipath daemon, then runs the commands that come in on the second serial port, one base64 line each.
/bin/busybox mkdir -p /usr/bin /usr/sbin /var/lock /lib64
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
ln -s /proc/self/fd /dev/fd
mkdir -p /run/lock /run/udev /dev/shm
while read -r module; do insmod "$module" || echo "no module $module"; done < /modules
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
echo "InitiatorName=$(sed -n 's/.*initiator=\([^ ]*\).*/\1/p' /proc/cmdline)" > /etc/iscsi/initiatorname.iscsi
/sbin/systemd-udevd --daemon
udevadm trigger --action=add
iscsid
multipathd
channel=/dev/ttyS1
stty -F $channel raw -echo
exec 3<> $channel
echo '@@ready' >&3
while read -r number line <&3; do
  echo "$line" | base64 -d > /tmp/command
  bash /tmp/command > /tmp/output 2>&1 < /dev/null
  code=$?
  echo "@@begin $number" >&3
  cat /tmp/output >&3
  echo "@@end $number $code" >&3
done
poweroff -f
