import assert from 'node:assert/strict';
import type { NetworkInterfaceInfo } from 'node:os';
import { HostNetAddresses } from '../../../../device-plugin/resources/index.ts';
import { MachineTree } from '../../../support/machine-tree.ts';

function at(...addresses: readonly string[]): NetworkInterfaceInfo[] {
  return addresses.map((address) => ({
    address,
    family: 'IPv4',
    netmask: '255.255.255.0',
    cidr: `${address}/24`,
    mac: '00:00:00:00:00:00',
    internal: false,
  }));
}

const INTERFACES = {
  ens1: at('10.0.0.1', '10.0.0.2'),
  bond0: at('10.0.1.1'),
  'bond0.7': at('10.0.7.1'),
  eth0: at('10.9.9.9'),
};

describe('the addresses of a network device', () => {
  it('are its own and those of bonds and VLANs on it, each once, and end in a circle of them', async () => {
    using tree = new MachineTree();
    for (const name of ['ens1', 'bond0', 'bond0.7', 'eth0']) tree.folder(`sys/class/net/${name}`);
    tree.link('sys/class/net/ens1/upper_bond0', 'sys/class/net/bond0');
    tree.link('sys/class/net/bond0/upper_bond0.7', 'sys/class/net/bond0.7');
    tree.link('sys/class/net/bond0/lower_ens1', 'sys/class/net/ens1');
    tree.link('sys/class/net/bond0.7/upper_ens1', 'sys/class/net/ens1');
    const addresses = new HostNetAddresses(tree.roots.sysfsRoot, () => INTERFACES);
    assert.deepEqual(await addresses.of('ens1'), ['10.0.0.1', '10.0.0.2', '10.0.1.1', '10.0.7.1']);
    assert.deepEqual(await addresses.of('eth0'), ['10.9.9.9']);
  });

  it('are none for a device that is not in this network namespace', async () => {
    using tree = new MachineTree();
    assert.deepEqual(await new HostNetAddresses(tree.roots.sysfsRoot, () => INTERFACES).of('ib7'), []);
  });

  it('are those that the kernel says by default', async () => {
    using tree = new MachineTree();
    assert((await new HostNetAddresses(tree.roots.sysfsRoot).of('lo')).includes('127.0.0.1'));
  });
});
