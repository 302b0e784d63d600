import { normalize } from 'node:path/posix';
import {
  HUGE_PAGES,
  HUGETLBFS,
  type HugetlbfsUnit,
  mountingsOf,
  pageSizesOf,
  podPages,
  unitsOf,
} from './huge-pages.ts';
import { type ContainerView, namesAskedFor, type PodView } from './pod-view.ts';
import { quantityText } from './quantity.ts';

type Rule = (container: ContainerView, units: readonly HugetlbfsUnit[], pod: PodView) => string | undefined;

const unknownSize: Rule = (container, units) => {
  const known = units.map(({ pageSize }) => HUGETLBFS + pageSize);
  const name = namesAskedFor(container.resources).find((one) => one.startsWith(HUGETLBFS) && !known.includes(one));
  if (name === undefined || unitsOf(container, name) === 0n) return undefined;
  return `asks for ${name}, which no node has: configured ${known.length === 0 ? 'is none' : `are ${known.join(', ')}`}`;
};

const fewerPages: Rule = (container, units) => {
  const short = mountingsOf(container, units).find(({ pages, bytes }) => pages !== undefined && pages < bytes);
  if (short?.pages === undefined) return undefined;
  const { unit, bytes, pages } = short;
  const name = HUGE_PAGES + unit.pageSize;
  const needed = quantityText(bytes);
  return (
    `asks for ${short.units} of ${HUGETLBFS}${unit.pageSize}, which hold ${needed}, and only for ${name}: ` +
    `${quantityText(pages)}. Ask for ${name}: ${needed} or more, or leave ${name} out and it is added`
  );
};

const otherSize: Rule = (container, units, pod) => {
  const mountings = mountingsOf(container, units);
  const mounted: readonly string[] = mountings.map(({ unit }) => unit.pageSize);
  const other = pageSizesOf(container, units).find((size) => !mounted.includes(size));
  const without = mountings.find(
    ({ unit, pages }) => pages === undefined && podPages(pod, unit.pageSize) === undefined,
  );
  if (other === undefined || without === undefined) return undefined;
  const { pageSize } = without.unit;
  return (
    `asks for ${HUGETLBFS}${pageSize} and for pages of another size, ${HUGE_PAGES}${other}. ` +
    `If both are meant, ask for ${HUGE_PAGES}${pageSize}: ${quantityText(without.bytes)} too`
  );
};

const takenPath: Rule = (container, units) => {
  for (const { unit } of mountingsOf(container, units)) {
    const path = normalize(`${unit.mountPath}/`);
    const taken = (container.volumeMounts ?? []).find(({ mountPath }) => normalize(`${mountPath}/`) === path);
    if (taken !== undefined) {
      return `mounts the volume ${taken.name} at ${unit.mountPath}, where its ${HUGETLBFS}${unit.pageSize} is mounted`;
    }
  }
  return undefined;
};

const CUFILE = /^nabustore\.io\/(cufile|gds)(-|$)/;

export function cufileResourcesOf(container: ContainerView): readonly string[] {
  return namesAskedFor(container.resources).filter((name) => CUFILE.test(name) && unitsOf(container, name) > 0n);
}

const oneCufile: Rule = (container) => {
  const names = cufileResourcesOf(container);
  if (names.length < 2) return undefined;
  return `asks for ${names.join(' and ')}. Each brings a cufile.json, and a container reads one`;
};

const RULES: readonly Rule[] = [unknownSize, fewerPages, otherSize, takenPath, oneCufile];

/** What a container asks for that cannot be meant: a sentence without its subject, or undefined. Pure. */
export function contradictionOf(
  container: ContainerView,
  units: readonly HugetlbfsUnit[],
  pod: PodView,
): string | undefined {
  for (const rule of RULES) {
    const sentence = rule(container, units, pod);
    if (sentence !== undefined) return sentence;
  }
  return undefined;
}
