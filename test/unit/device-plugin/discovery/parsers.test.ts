import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  type Attribute,
  cpuList,
  fieldsOf,
  guid,
  line,
  numaNode,
  numbers,
  pciClass,
  pciId,
  wholeNumber,
  yesNo,
} from '../../../../device-plugin/discovery/attribute.ts';
import { deviceName } from '../../../../device-plugin/discovery/device-node.ts';
import { gpuModel } from '../../../../device-plugin/discovery/gpu.ts';
import { linkLayer, numberedState, portRate } from '../../../../device-plugin/discovery/hca-port.ts';
import { pageSizeOf } from '../../../../device-plugin/discovery/huge-pages.ts';
import { interfaceVersion, storageModules } from '../../../../device-plugin/discovery/nvidia-fs.ts';
import { namespaceNameOf } from '../../../../device-plugin/discovery/nvme.ts';
import { hasP2pDmaOption, isOpenModule, registryWords } from '../../../../device-plugin/discovery/p2pdma.ts';
import { pciPlaceOf } from '../../../../device-plugin/discovery/pci.ts';
import { byName } from '../../../../device-plugin/discovery/survey.ts';

const ALL: Readonly<Record<string, Attribute<unknown>>> = {
  cpuList,
  deviceName,
  gpuModel,
  guid,
  interfaceVersion,
  isOpenModule,
  line,
  linkLayer,
  numaNode,
  numberedState,
  numbers,
  pciClass,
  pciId,
  portRate,
  registryWords,
  storageModules,
  wholeNumber,
  yesNo,
};

const hexOf = (length: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length });
const word = fc.string({ unit: fc.constantFrom(...'abcXYZ019_-'), minLength: 1, maxLength: 12 });
const bdf = fc
  .tuple(hexOf(4), hexOf(2), fc.nat(31), fc.nat(7))
  .map(([domain, bus, device, fn]) => `${domain}:${bus}:${device.toString(16).padStart(2, '0')}.${fn}`);

describe('the readers of single files', () => {
  for (const [name, attribute] of Object.entries(ALL)) {
    it(`${name} answers any text with a value or undefined, and never throws`, () => {
      const text = fc.oneof(
        fc.string({ unit: 'binary', maxLength: 300 }),
        fc.string({ unit: fc.constantFrom(...'0123456789xXabcdefGM:.-,=\n\t "/()'), maxLength: 300 }),
      );
      fc.assert(
        fc.property(text, (garbage) => {
          attribute.parse(garbage);
        }),
      );
      assert.notEqual(attribute.expected, '');
    });
  }

  it('numbers come back as written, and nothing that is not exactly a number does', () => {
    fc.assert(fc.property(fc.maxSafeNat(), (value) => wholeNumber.parse(String(value)) === value));
    fc.assert(fc.property(fc.maxSafeNat(), (value) => wholeNumber.parse(`${value} kB`) === undefined));
    for (const text of ['', '-1', '1.5', '0x10', '1e3', '9007199254740993', '99999999999999999999']) {
      assert.equal(wholeNumber.parse(text), undefined, text);
    }
  });

  it('ids, classes and GUIDs come back in lower case', () => {
    fc.assert(fc.property(hexOf(4), (id) => pciId.parse(`0x${id.toUpperCase()}`) === id));
    fc.assert(fc.property(hexOf(6), (code) => pciClass.parse(`0x${code}`) === code));
    fc.assert(
      fc.property(fc.tuple(hexOf(4), hexOf(4), hexOf(4), hexOf(4)), (groups) => {
        const text = groups.join(':');
        return guid.parse(text.toUpperCase()) === text && guid.parse(`${text}:0000`) === undefined;
      }),
    );
  });

  it('a NUMA node of -1 is none', () => {
    assert.deepEqual(numaNode.parse('-1'), { node: null });
    assert.deepEqual(numaNode.parse('3'), { node: 3 });
    assert.equal(numaNode.parse('-2'), undefined);
  });

  it('a port rate has its bandwidth, lanes and speed', () => {
    const speed = fc.constantFrom('SDR', 'DDR', 'QDR', 'FDR10', 'EDR', 'HDR', 'NDR', 'XDR');
    fc.assert(
      fc.property(fc.nat(16_000), fc.constantFrom(1, 2, 4, 8, 12), speed, (tenths, lanes, name) => {
        const rate = portRate.parse(`${tenths / 10} Gb/sec (${lanes}X ${name})`);
        assert.deepEqual(rate, { gigabitsPerSecond: tenths / 10, lanes, speed: name });
      }),
    );
    assert.deepEqual(portRate.parse('10 Gb/sec (4X)'), { gigabitsPerSecond: 10, lanes: 4, speed: null });
    assert.deepEqual(portRate.parse('2.5 Gb/sec'), { gigabitsPerSecond: 2.5, lanes: null, speed: null });
    assert.equal(portRate.parse('400 Mb/sec'), undefined);
  });

  it('a state has its number and its name', () => {
    assert.deepEqual(numberedState.parse('4: ACTIVE'), { code: 4, name: 'ACTIVE' });
    assert.deepEqual(numberedState.parse('7: Phy Test'), { code: 7, name: 'Phy Test' });
    assert.equal(numberedState.parse('ACTIVE'), undefined);
    assert.equal(linkLayer.parse('Unknown'), 'Unspecified');
  });

  it('a uevent gives the device file whatever else is in it and in whatever order', () => {
    const fields = fc.record({
      major: fc.nat(4095),
      minor: fc.nat(1_048_575),
      name: fc.array(word, { minLength: 1, maxLength: 4 }),
    });
    fc.assert(
      fc.property(
        fields,
        fc.dictionary(
          word.map((key) => `Q${key}`),
          word,
        ),
        fc.boolean(),
        ({ major, minor, name }, more, isFirst) => {
          const own = [`MAJOR=${major}`, `MINOR=${minor}`, `DEVNAME=${name.join('/')}`];
          const others = Object.entries(more).map(([key, value]) => `${key}=${value}`);
          const text = (isFirst ? [...own, ...others] : [...others, ...own.reverse()]).join('\n');
          assert.deepEqual(deviceName.parse(text), { major, minor, name: name.join('/') });
        },
      ),
    );
  });

  it('a uevent names nothing outside of /dev', () => {
    for (const name of ['../x', '/etc/passwd', 'a/../../b', '..', '.', 'a//b', 'a/', '', 'a b', 'a\u0000b']) {
      assert.equal(deviceName.parse(`MAJOR=1\nMINOR=2\nDEVNAME=${name}`), undefined, name);
    }
  });

  it('the place of a device is its innermost function and the outermost root complex', () => {
    const path = fc.record({
      root: fc.tuple(hexOf(4), hexOf(2)),
      bridges: fc.array(bdf, { maxLength: 6 }),
      last: bdf,
      below: fc.array(word, { maxLength: 3 }),
    });
    fc.assert(
      fc.property(path, ({ root, bridges, last, below }) => {
        const pcieRoot = `pci${root.join(':')}`;
        const place = pciPlaceOf(['devices', pcieRoot, ...bridges, last, ...below].join('/'));
        assert.deepEqual(place, { address: last, pcieRoot });
      }),
    );
    assert.deepEqual(pciPlaceOf('devices/virtual/infiniband/rxe0'), { address: null, pcieRoot: null });
    assert.deepEqual(pciPlaceOf('devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0/nvme/nvme0'), {
      address: '10000:e1:00.0',
      pcieRoot: 'pci0000:00',
    });
  });

  it('the order of names is total, and numeric where they hold numbers', () => {
    const name = fc.string({ unit: fc.constantFrom(...'ab_.:0129'), maxLength: 8 });
    fc.assert(
      fc.property(name, name, name, (a, b, c) => {
        assert.equal(Math.sign(byName(a, b)) + Math.sign(byName(b, a)), 0);
        assert.equal(byName(a, b) === 0, a === b);
        if (byName(a, b) <= 0 && byName(b, c) <= 0) assert(byName(a, c) <= 0);
      }),
    );
    assert.deepEqual(['mlx5_10', 'mlx5_9', 'mlx5_bond_0'].sort(byName), ['mlx5_9', 'mlx5_10', 'mlx5_bond_0']);
  });

  it('fields keep their first value and lose the blanks around it', () => {
    assert.deepEqual([...fieldsOf('Model: \t NVIDIA H200\nno colon\nModel: x\n: y', ':')], [['Model', 'NVIDIA H200']]);
  });

  it('the driver, its registry and nvidia-fs are read as NVIDIA prints them', () => {
    const open = 'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build\nGCC version: 12';
    assert.equal(isOpenModule.parse(open), true);
    assert.equal(isOpenModule.parse('NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15'), false);
    assert.equal(isOpenModule.parse('GCC version: 12'), undefined);
    assert.equal(registryWords.parse('EnableMSI: 1\nRegistryDwords: "RMForceStaticBar1=1;"\n'), 'RMForceStaticBar1=1;');
    assert.equal(interfaceVersion.parse('version: 2.25'), '2.25');
    assert.deepEqual(storageModules.parse('rpcrdma: 24.10\nnvme: 1.0'), [
      { name: 'nvme', version: '1.0' },
      { name: 'rpcrdma', version: '24.10' },
    ]);
    assert.deepEqual(storageModules.parse(''), []);
    assert.deepEqual(gpuModel.parse('Model: NVIDIA H200\nGPU UUID: GPU-????????-????'), {
      model: 'NVIDIA H200',
      uuid: null,
    });
  });

  it('the configuration of a kernel has peer-to-peer DMA only when it is built in', () => {
    assert.equal(hasP2pDmaOption('CONFIG_PCI=y\nCONFIG_PCI_P2PDMA=y\n'), true);
    assert.equal(hasP2pDmaOption('# CONFIG_PCI_P2PDMA is not set\nCONFIG_PCI_P2PDMA_X=y'), false);
    assert.equal(hasP2pDmaOption(''), false);
  });

  it('pools of huge pages and paths of namespaces are read from their names', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1 << 24 }), (kib) => pageSizeOf(`hugepages-${kib}kB`) === kib * 1024),
    );
    assert.equal(pageSizeOf('hugepages-0kB'), undefined);
    assert.equal(namespaceNameOf('nvme3c1n2'), 'nvme3n2');
    assert.equal(namespaceNameOf('nvme3n2'), 'nvme3n2');
    assert.equal(namespaceNameOf('nvme3n2p1'), undefined);
  });
});
