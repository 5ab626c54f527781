//! Which constraints of the schema couple an entry of a list with data outside of it (RFC 7950, section 8.1).
//!
//! A change of some entries can be validated without all the others as long as no constraint that is evaluated looks
//! at the others, and nothing that a constraint inside the others looks at has changed. Here is, for a schema, who
//! looks at what; everything is in doubt taken for coupled.
#![allow(unsafe_code)] // the libyang binding is wrapped here

use std::collections::{HashMap, HashSet};

use yang5::ffi;

use super::atoms::Expression;
use super::{Node, NodeKind, SchemaNode, Tree};
use crate::model::schema::Schema;

/// The constraints of a schema, ready to be asked.
pub struct Constraints {
    lists: HashMap<SchemaNode, List>,
    /// What the constraints of an instance of a node look at.
    own: HashMap<SchemaNode, Reach>,
    /// What is evaluated below a node (`None`: at the top) even for children that are not there: whens, and all of
    /// what comes into being by itself.
    implicit: HashMap<Option<SchemaNode>, Reach>,
}

/// What is known of a list.
#[derive(Default)]
struct List {
    /// Whether it makes a difference that there is any entry.
    pinned: bool,
    /// A change of one of these may make any entry invalid, or valid.
    depends: Dependencies,
}

#[derive(Default)]
struct Dependencies {
    on_anything: bool,
    on: HashSet<SchemaNode>,
}

/// Lists of which some constraints look at other entries than the one they belong to.
#[derive(Clone, Default)]
pub struct Reach {
    /// It may be any list.
    pub anything: bool,
    /// These.
    pub lists: HashSet<SchemaNode>,
    /// Of this list, the one entry whose only key has the leaf's value: a leafref.
    entry: Option<SchemaNode>,
    /// Single entries of lists.
    pub entries: HashSet<(SchemaNode, String)>,
}

impl Reach {
    fn add(&mut self, other: &Self) {
        self.anything |= other.anything;
        self.lists.extend(&other.lists);
        // Whose value is not known yet may name any entry.
        self.lists.extend(other.entry);
    }
}

impl Constraints {
    /// Looks through a schema.
    pub fn of(schema: Schema) -> Self {
        let modules = schema.modules().filter(|module| module.implemented);
        let tops: Vec<_> = modules
            .flat_map(|module| schema.roots(&module.name).collect::<Vec<_>>())
            .filter(|node| node.is_config())
            .collect();
        let mut constraints = Self {
            lists: HashMap::new(),
            own: HashMap::new(),
            implicit: HashMap::new(),
        };
        for top in &tops {
            constraints.node(*top, &mut Vec::new(), &[]);
        }
        constraints.gather(None, &tops);
        constraints
    }

    /// Whether some entries of a list can be left out at all.
    pub(super) fn can_be_cut(&self, list: SchemaNode) -> bool {
        self.lists.get(&list).is_some_and(|list| !list.pinned)
    }

    /// The lists of which any entry may be affected by a change of these nodes.
    pub fn affected_by(&self, changed: &HashSet<SchemaNode>) -> impl Iterator<Item = SchemaNode> {
        let is_affected = |list: &List| {
            let depends = &list.depends;
            !changed.is_empty() && (depends.on_anything || !depends.on.is_disjoint(changed))
        };
        let affected = self.lists.iter().filter(move |(_, list)| is_affected(list));
        affected.map(|(schema, _)| *schema)
    }

    /// What the constraints that are evaluated in a tree look at.
    pub fn reach(&self, tree: &Tree) -> Reach {
        let mut reach = Reach::default();
        let mut seen = HashSet::new();
        let mut below = |reach: &mut Reach, at: Option<SchemaNode>| {
            if let Some(implicit) = self.implicit.get(&at).filter(|_| seen.insert(at)) {
                reach.add(implicit);
            }
        };
        below(&mut reach, None);
        let mut stack: Vec<Node<'_>> = tree.roots().collect();
        while let Some(node) = stack.pop() {
            let schema = node.schema();
            below(&mut reach, Some(schema));
            if let Some(own) = self.own.get(&schema) {
                match (own.entry, node.value()) {
                    (Some(list), Some(value)) => {
                        reach.anything |= own.anything;
                        reach.lists.extend(&own.lists);
                        reach.entries.insert((list, value));
                    }
                    _ => reach.add(own),
                }
            }
            stack.extend(node.children());
        }
        reach
    }

    /// Reads the constraints of a node and of everything below it. `inside`: the lists it is in, outermost first;
    /// `whens`: those of what it is in, up to the innermost list.
    fn node(&mut self, node: SchemaNode, inside: &mut Vec<SchemaNode>, whens: &[Expressions]) {
        let is_list = node.kind() == NodeKind::List;
        let own_whens = Expressions::from(node.whens());
        if is_list {
            inside.push(node);
            self.list(node, whens);
        }
        let references = References::of(node);
        let others = node.musts().into_iter().chain(references.found);
        for expression in own_whens.iter().chain(&others.collect::<Vec<_>>()) {
            self.expression(node, expression, inside);
        }
        if let Some(list) = references.entry {
            let own = self.own.entry(node).or_default();
            own.lists.remove(&list);
            own.entry = Some(list);
        }
        let mut below = whens.to_vec();
        if is_list {
            below.clear();
        } else {
            below.push(own_whens);
        }
        let children: Vec<_> = node.data_children().collect();
        for child in &children {
            self.node(*child, inside, &below);
        }
        if is_list {
            inside.pop();
        }
        self.gather(Some(node), &children);
    }

    fn list(&mut self, node: SchemaNode, whens: &[Expressions]) {
        let list = self.lists.entry(node).or_default();
        let (least, most) = node.limits();
        list.pinned = least > 0 || !node.cases().is_empty();
        if node.is_user_ordered() || most.is_some() {
            list.depends.on.insert(node);
        }
        list.depends.on.extend(node.unique_leaves());
        for when in whens.iter().flat_map(|whens| whens.iter()) {
            list.depends.add(when, node);
        }
    }

    fn expression(&mut self, node: SchemaNode, expression: &Expression, inside: &[SchemaNode]) {
        for list in inside.iter().filter(|list| expression.leaves(**list)) {
            let own = self.lists.entry(*list).or_default();
            own.depends.add(expression, *list);
        }
        let own = self.own.entry(node).or_default();
        let Some(atoms) = &expression.atoms else {
            own.anything = true;
            return;
        };
        for list in atoms.iter().flat_map(|atom| atom.lists()) {
            if !inside.contains(&list) || expression.enters(list) {
                own.lists.insert(list);
            }
        }
    }

    /// Sums up what is evaluated below a node without any data.
    fn gather(&mut self, at: Option<SchemaNode>, children: &[SchemaNode]) {
        let mut sum = Reach::default();
        for child in children {
            let comes_by_itself =
                child.has_default() || child.kind() == NodeKind::Container && !child.is_presence();
            let has_when = !child.whens().is_empty();
            if let Some(own) = self.own.get(child).filter(|_| comes_by_itself || has_when) {
                sum.add(own);
            }
            if let Some(below) = self.implicit.get(&Some(*child)).filter(|_| comes_by_itself) {
                sum.add(below);
            }
        }
        self.implicit.insert(at, sum);
    }
}

impl Dependencies {
    /// Adds what an expression in an entry of a list looks at out of that entry.
    fn add(&mut self, expression: &Expression, list: SchemaNode) {
        let Some(atoms) = &expression.atoms else {
            self.on_anything = true;
            return;
        };
        let is_own = |atom: &SchemaNode| atom.lists().any(|above| above == list);
        let enters = expression.enters(list);
        let outside = atoms.iter().filter(|atom| enters || !is_own(atom));
        self.on.extend(outside);
    }
}

/// The expressions of one node, shared by all that is below it.
type Expressions = std::rc::Rc<[Expression]>;

impl SchemaNode {
    /// The data nodes that it is in.
    pub(super) fn depth(self) -> usize {
        std::iter::successors(self.parent(), |node| node.parent()).count()
    }

    /// The lists that it is in, or is.
    fn lists(self) -> impl Iterator<Item = SchemaNode> {
        let line = std::iter::successors(Some(self), |node| node.parent());
        line.filter(|node| node.kind() == NodeKind::List)
    }

    /// The configuration data nodes below, through choices and cases.
    pub(super) fn data_children(self) -> impl Iterator<Item = SchemaNode> {
        let is_inner = matches!(self.kind(), NodeKind::Container | NodeKind::List);
        let children = is_inner.then(|| self.children()).into_iter().flatten();
        children.filter(|child| child.is_config())
    }

    fn has_default(self) -> bool {
        // SAFETY: the kind says which structure the node is.
        unsafe {
            match self.kind() {
                NodeKind::Leaf => !(*self.raw().cast::<ffi::lysc_node_leaf>())
                    .dflt
                    .str_
                    .is_null(),
                NodeKind::LeafList => !(*self.raw().cast::<ffi::lysc_node_leaflist>())
                    .dflts
                    .is_null(),
                _ => false,
            }
        }
    }

    /// `min-elements` and, if there is one, `max-elements` of a list.
    fn limits(self) -> (u32, Option<u32>) {
        // SAFETY: asked of lists alone.
        let list = unsafe { &*self.raw().cast::<ffi::lysc_node_list>() };
        let has_most = list.max != 0 && list.max != u32::MAX;
        (list.min, has_most.then_some(list.max))
    }

    /// The list of which this is the only key, if there is one such list whatever the data are.
    fn list_of_only_key(self) -> Option<SchemaNode> {
        let list = self.parent()?;
        let is_alone = list.keys().count() == 1 && list.lists().count() == 1;
        is_alone.then_some(list)
    }

    fn unique_leaves(self) -> Vec<SchemaNode> {
        let mut leaves = Vec::new();
        // SAFETY: asked of lists alone; the arrays have their lengths before them.
        unsafe {
            let uniques = (*self.raw().cast::<ffi::lysc_node_list>()).uniques;
            for unique in (0..length(uniques)).map(|index| *uniques.add(index)) {
                let named = (0..length(unique)).map(|index| *unique.add(index));
                leaves.extend(named.filter_map(|leaf| SchemaNode::from_raw(leaf.cast())));
            }
        }
        leaves
    }

    /// Its whens, with those of the choices and cases it is directly in.
    fn whens(self) -> Vec<Expression> {
        let mut found = Vec::new();
        let mut at = self.raw();
        // SAFETY: nodes of the leaked schema, and their whens; the arrays have their lengths before them.
        unsafe {
            loop {
                let whens = ffi::lysc_node_when(at);
                for when in (0..length(whens)).map(|index| &**whens.add(index)) {
                    let context = SchemaNode::from_raw(when.context);
                    found.push(Expression::read(self, context, when.cond, when.prefixes));
                }
                at = (*at).parent;
                let through = ffi::LYS_CHOICE | ffi::LYS_CASE;
                if at.is_null() || u32::from((*at).nodetype) & through == 0 {
                    return found;
                }
            }
        }
    }

    fn musts(self) -> Vec<Expression> {
        // SAFETY: musts of a node of the leaked schema; the array has its length before it.
        unsafe {
            let musts = ffi::lysc_node_musts(self.raw());
            let musts = (0..length(musts)).map(|index| &*musts.add(index));
            musts
                .map(|must| Expression::read(self, Some(self), must.cond, must.prefixes))
                .collect()
        }
    }
}

/// What the value of a leaf or leaf-list must refer to.
#[derive(Default)]
struct References {
    found: Vec<Expression>,
    /// The list of which the value names an entry by its only key, if that is all it does.
    entry: Option<SchemaNode>,
}

impl References {
    fn of(node: SchemaNode) -> Self {
        let mut references = Self::default();
        references.read(node, node.leaf_type());
        // A must or when of the same leaf may look at any entry.
        if !node.musts().is_empty() || !node.whens().is_empty() {
            references.entry = None;
        }
        references
    }

    fn read(&mut self, node: SchemaNode, leaf_type: *const ffi::lysc_type) {
        if leaf_type.is_null() {
            return;
        }
        // SAFETY: a type of the leaked schema; the base type says which structure it is.
        unsafe {
            match (*leaf_type).basetype {
                ffi::LY_DATA_TYPE::LY_TYPE_LEAFREF => {
                    let reference = &*leaf_type.cast::<ffi::lysc_type_leafref>();
                    if reference.require_instance != 0 {
                        self.leafref(node, reference);
                    }
                }
                ffi::LY_DATA_TYPE::LY_TYPE_INST => {
                    let reference = &*leaf_type.cast::<ffi::lysc_type_instanceid>();
                    if reference.require_instance != 0 {
                        self.found.push(Expression::anything());
                    }
                }
                ffi::LY_DATA_TYPE::LY_TYPE_UNION => {
                    let types = (*leaf_type.cast::<ffi::lysc_type_union>()).types;
                    for index in 0..length(types) {
                        self.read(node, *types.add(index));
                    }
                    // Which of the types a value has is not known here.
                    self.entry = None;
                }
                _ => {}
            }
        }
    }

    fn leafref(&mut self, node: SchemaNode, reference: &ffi::lysc_type_leafref) {
        let path = Expression::read(node, Some(node), reference.path, reference.prefixes);
        let mut atoms = path.atoms.iter().flatten().filter(|atom| atom.is_key());
        if let (Some(key), None, false) = (atoms.next(), atoms.next(), path.has_predicates()) {
            self.entry = key.list_of_only_key();
        }
        self.found.push(path);
    }
}

/// The length of an array of libyang, which stands before it.
///
/// # Safety
/// `array` is null or an array that libyang made.
unsafe fn length<T>(array: *const T) -> usize {
    if array.is_null() {
        return 0;
    }
    // SAFETY: as the caller promises.
    unsafe { usize::try_from(*array.cast::<u64>().sub(1)).unwrap_or_default() }
}
